#!/bin/sh
# Evaluate a long period: task k of the array scores day k in its own folder. When all are done, add up their counts; the sum equals
# the counts of one process (a day must contain a whole number of strides):
#   sbatch --array=0-364%8 slurm_evaluate.sh 2018-01-01 /archive/scores checkpoint=best.pt data=radar data.path=/archive/store stride=3
#   nowcast evaluate 'counts=/archive/scores/*/counts.nc' output=/archive/scores/all
#SBATCH --job-name=nowcast-evaluate
#SBATCH --cpus-per-task=2
#SBATCH --mem=8G
#SBATCH --time=02:00:00
#SBATCH --output=nowcast-evaluate-%A_%a.log
set -eu

first=${1:?first day, such as 2018-01-01}
folder=${2:?folder for the scores, with one folder for each day}
shift 2
day=$(date -u -d "$first + ${SLURM_ARRAY_TASK_ID:?runs as a job array, sbatch --array=0-364} days" +%Y-%m-%d)
export OMP_NUM_THREADS="${SLURM_CPUS_PER_TASK:-1}"

exec nowcast evaluate "period=[$day,$day]" "output=$folder/$day" "$@"
