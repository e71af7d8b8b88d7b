#!/bin/sh
# Prepare an archive: task k of the array prepares the k-th day, in a folder of its own. All folders together are the store that one
# process would make: use it as data.path=STORE. Submitted again, what is there is skipped. More words are settings of the command.
#   sbatch --array=0-364%8 slurm_prepare.sh 2018-01-01 /archive/store data.path=s3://bucket/rain.zarr pixel_size=2000
#SBATCH --job-name=nowcast-prepare
#SBATCH --cpus-per-task=2
#SBATCH --mem=4G
#SBATCH --time=02:00:00
#SBATCH --output=nowcast-prepare-%A_%a.log
set -eu

first=${1:?first day, as 2018-01-01}
store=${2:?folder of the store, a folder a day within}
shift 2
day=$(date -u -d "$first + ${SLURM_ARRAY_TASK_ID:?runs as a job array, sbatch --array=0-364} days" +%Y-%m-%d)
export OMP_NUM_THREADS="${SLURM_CPUS_PER_TASK:-1}"

exec nowcast prepare "period=[$day,$day]" "output=$store/$day" "workers=${SLURM_CPUS_PER_TASK:-1}" "$@"
