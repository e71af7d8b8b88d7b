#!/bin/sh
# Back-fill an archive: task k of the array forecasts from every frame of day k. Each day has its own folder, so that tasks do not
# wait for each other. If submitted again, existing forecasts are skipped. Settings: operation/five_minutes.yaml.
#   sbatch --array=0-10%4 slurm_backfill.sh 2018-05-10 /archive/forecasts
#SBATCH --job-name=nowcast-backfill
#SBATCH --cpus-per-task=2
#SBATCH --mem=4G
#SBATCH --time=02:00:00
#SBATCH --output=nowcast-backfill-%A_%a.log
set -eu

first=${1:?first day, such as 2018-05-10}
folder=${2:?folder for the forecasts, with one folder for each day}
day=$(date -u -d "$first + ${SLURM_ARRAY_TASK_ID:?runs as a job array, sbatch --array=0-10} days" +%Y-%m-%d)
export OMP_NUM_THREADS="${SLURM_CPUS_PER_TASK:-1}"

exec nowcast predict --config-dir "${NOWCAST_CONFIG:-/etc/nowcast}" +operation=five_minutes \
    "from=${day}T00:00" "to=${day}T23:59" "output=$folder/$day/%Y%m%dT%H%MZ.nc" \
    latest=null deadline=null
