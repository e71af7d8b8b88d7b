#!/bin/sh
# Back-fill an archive: task k of the array forecasts from every frame of the k-th day, in a folder of its own, so that tasks do not
# wait for each other. Submitted again, what is there is skipped. Settings: operation/five_minutes.yaml.
#   sbatch --array=0-10%4 slurm_array.sh 2018-05-10 /archive/forecasts
#SBATCH --job-name=nowcast
#SBATCH --cpus-per-task=2
#SBATCH --mem=4G
#SBATCH --time=02:00:00
#SBATCH --output=nowcast-%A_%a.log
set -eu

first=${1:?first day, as 2018-05-10}
folder=${2:?folder of the forecasts, a folder a day within}
day=$(date -u -d "$first + ${SLURM_ARRAY_TASK_ID:?runs as a job array, sbatch --array=0-10} days" +%Y-%m-%d)
export OMP_NUM_THREADS="${SLURM_CPUS_PER_TASK:-1}"

exec nowcast predict --config-dir "${NOWCAST_CONFIG:-/etc/nowcast}" +operation=five_minutes \
    "from=${day}T00:00" "to=${day}T23:59" "output=$folder/$day/%Y%m%dT%H%MZ.nc" \
    max_age=null keep_hours=null latest=null deadline=null status=null metrics=null
