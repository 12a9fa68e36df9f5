#!/usr/bin/env bash
# What cannot become a run on a real Slurm: each thing says what is wrong, where, and what to do, and leaves nothing
# behind. First what is refused before there is a job, then what only its nodes can find.
# shellcheck disable=SC2016 # what stands in single quotes is looked for as it stands
set -euo pipefail
. "$(dirname "$0")/lib/common.bash"
. "$HERE/lib/bed.bash"

# No host has a GPU.
bed refused 3 "${REFUSED_SSH_PORT:-8825}" --strict --gpus 0
CONFIG=$HB_TESTBED/ssh_config
mkdir -p "$SCRATCH/laptop"
chmod 755 "$SCRATCH"
small_recipe refused 3 >"$SCRATCH/laptop/r.yaml"
jobs_of_user() { user squeue -h -t all -o %A; }
# What lies at the target: nothing of a refused submission may.
there() { find "$HOME_DIR" -mindepth 1 ! -path "$HOME_DIR/.ssh*" | sort; }

# refused CODE PART… -- ARGS…: `hbnode run` ends with this code, says all of this in one line, and leaves no file, job or socket.
refused() {
    local code=$1 exit_code=0 parts=() line before jobs
    shift
    while [ "$1" != -- ]; do parts+=("$1"); shift; done
    shift
    before=$(there) jobs=$(jobs_of_user)
    touch "$SCRATCH/refused-at"
    outside run r.yaml "$@" >"$SCRATCH/refused" 2>&1 || exit_code=$?
    line=$(grep -v '^warning' "$SCRATCH/refused" | tr '\n' ' ' | tr -s ' ')
    printf '    %.400s\n' "$line"
    for part in "${parts[@]}"; do grep -q -- "$part" <<<"$line" || { say "not said: $part"; return 1; }; done
    [ "$exit_code" = "$code" ] || { say "ended with $exit_code"; return 1; }
    [ "$(there)" = "$before" ] || { say "left behind:"; diff <(echo "$before") <(there); return 1; }
    [ "$(jobs_of_user)" = "$jobs" ] && [ -z "$(find /tmp -maxdepth 1 -name 'hbnode-ssh-*' -newer "$SCRATCH/refused-at")" ]
}
login=(--host login --ssh-config "$CONFIG")

say "the way there"
check "an unknown host" refused 1 'nowhere.invalid.*Could not resolve' 'is the name right' -- --host nowhere.invalid
check "a refused key" refused 1 'nobody@login.*Permission denied' MLUX_KEY -- --host nobody@login --ssh-config "$CONFIG"
sed "s|UserKnownHostsFile.*|UserKnownHostsFile $SCRATCH/none|" "$CONFIG" >"$SCRATCH/unknown_config"
check "a host that is not known yet" refused 1 'log in once by hand' -- --host login --ssh-config "$SCRATCH/unknown_config"
ssh-keygen -q -t ed25519 -N '' -f "$SCRATCH/other_key"
known=$(awk '$1 == "UserKnownHostsFile" {print $2}' "$CONFIG")
awk -v key="$(cut -d' ' -f2 "$SCRATCH/other_key.pub")" '{$3 = key; print}' "$known" >"$SCRATCH/changed"
sed "s|UserKnownHostsFile.*|UserKnownHostsFile $SCRATCH/changed|" "$CONFIG" >"$SCRATCH/changed_config"
check "a changed host key" refused 1 'ssh-keygen -R' -- --host login --ssh-config "$SCRATCH/changed_config"

say "what is at its end"
check "a binary that is none" refused 1 'no binary for Linux' -- "${login[@]}" --binary /etc/passwd
# A host without Slurm's commands: its /usr/bin is one of links to all the others.
on login sh -c "mkdir /run/bin /run/links && mount --bind /usr/bin /run/bin && ln -s /run/bin/* /run/links && rm /run/links/sbatch && mount --bind /run/links /usr/bin"
check "no sbatch there" refused 1 'there is no `sbatch`' 'Name it with --host' -- "${login[@]}"
on login /run/bin/umount /usr/bin
on login sh -c "mkdir -p '$HOME_DIR/small' && mount -t tmpfs -o size=4m,mode=777 none '$HOME_DIR/small'"
check "no space" refused 1 'KiB free' 'small' '--remote-dir' -- "${login[@]}" --remote-dir small/x
on login umount "$HOME_DIR/small"
check "a folder that may not be written" refused 1 '/proc/hbnode' '--remote-dir' -- "${login[@]}" --remote-dir /proc/hbnode

say "what the scheduler would not run"
check "no node" refused 2 'orchestration.total_nodes' 'accepted' -- "${login[@]}" --set orchestration.total_nodes=0
check "10,000 nodes" refused 2 '10000 nodes are asked for' 'has 3' 'never start' -- "${login[@]}" --set orchestration.total_nodes=10000
check "a time limit that is shorter than one trial" refused 2 'orchestration.job_config.time_limit' 'no trial could be finished' -- "${login[@]}" --set orchestration.job_config.time_limit=00:01:00 --set workload.duration=10m
check "a time limit above the partition's" refused 2 'time_limit' 'never start' -- "${login[@]}" --set orchestration.job_config.time_limit=99-00:00:00
check "a partition that is not there" refused 2 'there is no `nope`' 'the scheduler has' -- "${login[@]}" --set partition=nope
check "GPUs on a partition without" refused 2 'GPUs are asked for' '`cpu`' -- "${login[@]}" --set resources.servers.gpus=1
check "a QOS that one may not use" refused 1 'qos you may use' 'look at `qos` in the recipe' -- "${login[@]}" --set qos=gold
sed '/^qos/d' "$SCRATCH/laptop/r.yaml" >"$SCRATCH/laptop/whole.yaml"
mv "$SCRATCH/laptop/r.yaml" "$SCRATCH/laptop/kept.yaml" && mv "$SCRATCH/laptop/whole.yaml" "$SCRATCH/laptop/r.yaml"
check "no QOS where one is needed" refused 1 '[Qq][Oo][Ss]' 'look at `qos` in the recipe' -- "${login[@]}"
mv "$SCRATCH/laptop/kept.yaml" "$SCRATCH/laptop/r.yaml"
sed -i 's/if job.account == nil or job.account == "" then/if job.account ~= "p200981" then/' "$HB_TESTBED/etc/slurm/job_submit.lua"
check "an account that is not one's own" refused 1 '[Aa]ccount' 'look at `account` in the recipe' 'MLUX_ACCOUNT' -- "${login[@]}" --set account=p1

say "what only the nodes can find"
# fails PART… -- ARGS…: the job is submitted and ends with code 1; this is said; nothing of it runs on.
fails() {
    local exit_code=0 parts=() part host
    while [ "$1" != -- ]; do parts+=("$1"); shift; done
    shift
    outside run r.yaml "${login[@]}" --follow "$@" >"$SCRATCH/refused" 2>&1 || exit_code=$?
    grep -h "cannot\|error" "$SCRATCH/refused" | cut -c -400 | head -n 2
    for part in "${parts[@]}"; do grep -q -- "$part" "$SCRATCH/refused" || { say "not said: $part"; return 1; }; done
    [ "$exit_code" = 1 ] || { say "ended with $exit_code"; return 1; }
    for host in node001 node002 node003; do ! on "$host" pgrep -f bin/hbnode- || return 1; done
}
# What runs comes out of an image.

sed -e 's/^  service: dummy/  service: boxed/; /^servers:/,$d' "$SCRATCH/laptop/r.yaml" >"$SCRATCH/laptop/boxed.yaml"
cat >>"$SCRATCH/laptop/boxed.yaml" <<'YAML'
custom_services:
  boxed: {command: [serve, --port, "{port}"], protocol: openai, ready: {path: /health, timeout: 30s}}
YAML
mv "$SCRATCH/laptop/boxed.yaml" "$SCRATCH/laptop/r.yaml"
mkdir "$HOME_DIR/image.sif"
check "a container path that is a folder, where a file is needed" fails "the image .*image.sif. is a folder" 'apptainer build' -- \
    --set artifacts.runtime=apptainer --set artifacts.service.path="$HOME_DIR/image.sif"
rmdir "$HOME_DIR/image.sif"
echo image >"$HOME_DIR/image.sif"
check "a bind whose source is missing" fails 'cannot bind ./no/such/folder., which binds\[0\] names' 'make it on every server node' -- \
    --set artifacts.runtime=apptainer --set artifacts.service.path="$HOME_DIR/image.sif" --set 'binds=["/no/such/folder:/mnt"]'
finish
