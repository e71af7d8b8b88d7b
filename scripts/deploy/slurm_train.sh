#!/bin/sh
# Train on several GPUs of one or more nodes, one task for each GPU, and resume when the time limit ends the job: three minutes before
# it Slurm signals the tasks, which save last.pt and exit with 138, and the job is queued again. Arguments are those of nowcast train.
#   sbatch --nodes=2 --ntasks-per-node=4 --gpus-per-node=4 slurm_train.sh output=/scratch/runs/mine data=radar 'data.path=/archive/*.nc' …
# output must be one folder that all nodes see, the same for each submission.
#SBATCH --job-name=nowcast-train
#SBATCH --cpus-per-task=8
#SBATCH --time=08:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=USR1@180
#SBATCH --output=nowcast-train-%j.log
set -u

export OMP_NUM_THREADS="${SLURM_CPUS_PER_TASK:-1}"
srun --kill-on-bad-exit=1 nowcast train resume=auto "$@"
code=$?
if [ "$code" -eq 138 ]; then
    scontrol requeue "${SLURM_JOB_ID:?}"
fi
exit "$code"
