#!/bin/bash
#SBATCH --job-name=srsoup --nodes=4 --ntasks-per-node=1 --gpus-per-node=8 --exclusive
#SBATCH --time=24:00:00 --signal=B:TERM@120 --requeue
# From the repository:  sbatch docs/slurm.sh CONFIG [KEY=VALUE...] output=/shared/folder
set -eu
source .venv/bin/activate
head=$(hostname) port=6379 others=$((SLURM_JOB_NUM_NODES - 1))

# A new token for each job; srun hands the environment to every machine.
RAY_AUTH_TOKEN=$(python -c 'import secrets; print(secrets.token_hex(32))')
export RAY_AUTH_TOKEN RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0

srun --nodes=1 --ntasks=1 --nodelist="$head" ray start --head --port=$port --block &
timeout 300 bash -c "until ray status --address=$head:$port; do sleep 2; done" >/dev/null 2>&1
if [ "$others" -gt 0 ]; then
    srun --nodes=$others --ntasks=$others --exclude="$head" ray start --address="$head:$port" --block &
fi
export RAY_ADDRESS=$head:$port

# A run takes the GPUs that the cluster has when it starts.
timeout 600 python - "$SLURM_JOB_NUM_NODES" <<'PYTHON'
import sys, time, ray

ray.init(log_to_driver=False)
while sum(node["Alive"] for node in ray.nodes()) < int(sys.argv[1]):
    time.sleep(1)
PYTHON

python -m pipeline run "$@" &
driver=$!
# Two minutes before the end the run starts no other prompt, and finishes those under way.
trap 'kill -TERM $driver' TERM
wait $driver && status=0 || status=$?
if kill -0 $driver 2>/dev/null; then # the signal ended the wait, not the run
    wait $driver && status=0 || status=$?
fi
kill $(jobs -p) 2>/dev/null || true
exit $status
