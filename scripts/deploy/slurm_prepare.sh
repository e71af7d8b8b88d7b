#!/bin/sh
# Prepare an archive: task k of the array prepares day k in its own folder. All folders together are the same store as from one
# process; use it as data.path=STORE. If submitted again, existing days are skipped. Further arguments are settings of the command.
#   sbatch --array=0-364%8 slurm_prepare.sh 2018-01-01 /archive/store data.path=s3://bucket/rain.zarr pixel_size=2000
#SBATCH --job-name=nowcast-prepare
#SBATCH --cpus-per-task=2
#SBATCH --mem=4G
#SBATCH --time=02:00:00
#SBATCH --output=nowcast-prepare-%A_%a.log
set -eu

first=${1:?first day, such as 2018-01-01}
store=${2:?folder for the store, with one folder for each day}
shift 2
day=$(date -u -d "$first + ${SLURM_ARRAY_TASK_ID:?runs as a job array, sbatch --array=0-364} days" +%Y-%m-%d)
export OMP_NUM_THREADS="${SLURM_CPUS_PER_TASK:-1}"

exec nowcast prepare "period=[$day,$day]" "output=$store/$day" "workers=${SLURM_CPUS_PER_TASK:-1}" "$@"
