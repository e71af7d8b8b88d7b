#!/bin/sh
# Prepare or evaluate an archive: task k of the array takes day k, in its own folder. Further arguments are settings of the command.
#   sbatch --array=0-364%8 slurm_days.sh prepare 2018-01-01 /archive/store data.path=s3://bucket/rain.zarr pixel_size=2000
#   sbatch --array=0-364%8 slurm_days.sh evaluate 2018-01-01 /archive/scores checkpoint=best.pt data=radar data.path=/archive/store stride=3
# prepare: all folders together are the same store as from one process; use it as data.path=/archive/store. Days that exist are skipped.
# evaluate: the counts add up to those of one process if a day is a whole number of strides. When all tasks are done:
#   nowcast evaluate 'counts=/archive/scores/*/counts.nc' output=/archive/scores/all
#SBATCH --job-name=nowcast-days
#SBATCH --cpus-per-task=2
#SBATCH --mem=8G
#SBATCH --time=02:00:00
#SBATCH --output=nowcast-days-%A_%a.log
set -eu

command=${1:?prepare or evaluate}
first=${2:?first day, such as 2018-01-01}
folder=${3:?output folder, with one folder for each day}
shift 3
day=$(date -u -d "$first + ${SLURM_ARRAY_TASK_ID:?runs as a job array, sbatch --array=0-364} days" +%Y-%m-%d)
export OMP_NUM_THREADS="${SLURM_CPUS_PER_TASK:-1}"
[ "$command" != prepare ] || set -- "workers=${SLURM_CPUS_PER_TASK:-1}" "$@"

exec nowcast "$command" "period=[$day,$day]" "output=$folder/$day" "$@"
