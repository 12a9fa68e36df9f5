#!/usr/bin/env bash
# Servers in containers for real: the Dummy inside an image, through Charliecloud and through `apptainer` (a stand-in
# over bubblewrap where there is none). What is inside can be reached, measures VALID, and leaves nothing. Then what goes
# wrong with images: missing, of the wrong kind, a bind whose source is missing, a container that exits at once, a
# runtime that is not there.
# shellcheck disable=SC2016 # what stands in single quotes is looked for as it stands
set -euo pipefail
. "$(dirname "$0")/lib/common.bash"

command -v python3 >/dev/null || skip "python3 is needed"
export USER=${USER:-$(id -un)}
export APPTAINER_STANDIN_LOG=$SCRATCH/argv.jsonl
BIN=$SCRATCH/bin
mkdir -p "$BIN" "$SCRATCH/data"
echo "from the node" >"$SCRATCH/data/word"
runtimes=()
if command -v ch-run >/dev/null; then runtimes+=(charliecloud); else say "SKIPPED: charliecloud (no ch-run; apt-get install charliecloud)"; fi
if command -v apptainer >/dev/null; then
    say "SKIPPED: apptainer's stand-in (this machine has the real one, whose images cannot be made here)"
elif command -v bwrap >/dev/null; then
    ln -s "$TESTBED/apptainer" "$BIN/apptainer"
    runtimes+=(apptainer)
else
    say "SKIPPED: apptainer (no bwrap; apt-get install bubblewrap)"
fi
[ ${#runtimes[@]} -gt 0 ] || skip "no container runtime is here"
export PATH=$BIN:$PATH

say "an image that holds hbnode is made"
"$TESTBED/make-image" "$SCRATCH/image" hbnode="$HBNODE"
tar -cf "$SCRATCH/image.sif" -C "$SCRATCH/image" .
# Whatever runs in a container of this suite has this word among its own.
MARK=in-the-container-$$
inside_left() { pgrep -f -- "$MARK" | grep -vx "$$" || true; }
none_left() { [ -z "$(inside_left)" ] && ! find "${TMPDIR:-/tmp}" -maxdepth 1 -name 'rootfs-*' -newer "$SCRATCH/image.sif" 2>/dev/null | grep -q .; }
nothing_is_left() { wait_for 10 none_left; }

image_of() { if [ "$1" = apptainer ]; then echo "$SCRATCH/image.sif"; else echo "$SCRATCH/image"; fi; }

recipe() { # recipe NAME RUNTIME IMAGE BINDS COMMAND
    cat >"$SCRATCH/$1.yaml" <<RECIPE
scenario: $1
orchestration: {mode: local}
artifacts: {runtime: $2, service: {path: "$3"}}
binds: [$4]
environment: {HB_WORD: "a,b \$(id)"}
custom_services:
  boxed: {command: $5, protocol: openai, ready: {path: /health, timeout: 30s}}
servers: {health_check: {interval: 1}}
workload: {service: boxed, model: $MARK, concurrency: 4, warmup: 1s, duration: 4s, prompt_len: 16, gen_tokens: 8}
RECIPE
}
DUMMY='[hbnode, dummy, --host, "{host}", --port, "{port}", --model, "{model}", --ttft, 5ms, --tpot, 1ms]'

for runtime in "${runtimes[@]}"; do
    image=$(image_of "$runtime")

    say "($runtime) the Dummy in an image"
    recipe "$runtime-whole" "$runtime" "$image" "\"$SCRATCH/data:/mnt\"" "$DUMMY"
    lead "$SCRATCH/$runtime-whole.yaml"
    cat "$RUN_DIR/summary.md"
    check "$runtime: the run ends with 0" test "$EXIT_CODE" = 0
    check "$runtime: VALID" holds "$RUN_DIR" '.trials[0].verdict.status == "VALID"'
    check "$runtime: the books balance" balances "$RUN_DIR"
    check "$runtime: the words that were run are told" grep -q "$([ "$runtime" = apptainer ] && echo '"apptainer","exec"' || echo '"ch-run"')" "$RUN_DIR/events.jsonl"
    check "$runtime: no variable's value is among them" sh -c "! grep -q '(id)' '$RUN_DIR/events.jsonl'"
    digest=$(jq -r '.happened.fact.image_read.digest // empty' "$RUN_DIR/events.jsonl")
    say "$runtime: the image's digest is $digest"
    check "$runtime: the manifest has it" test "$(jq -r --arg image "$image" '.images[$image]' "$RUN_DIR/manifest.json")" = "$digest"
    if [ "$runtime" = apptainer ]; then
        check "apptainer: the digest is that of the file" test "$digest" = "sha256:$(sha256sum "$image" | cut -d ' ' -f 1)"
    else
        check "$runtime: the folder has a digest" sh -c "echo '$digest' | grep -qx 'tree-sha256:[0-9a-f]*'"
    fi
    check "$runtime: nothing is left" nothing_is_left

    say "($runtime) what the container sees"
    recipe "$runtime-sees" "$runtime" "$image" "\"$SCRATCH/data:/mnt\"" \
        "[sh, -c, \"echo word=\$HB_WORD; cat /mnt/word; touch /usr/mine; echo $MARK; exit 3\"]"
    lead "$SCRATCH/$runtime-sees.yaml"
    tail -n 8 "$SCRATCH/err"
    check "$runtime: a container that exits at once fails the run" test "$EXIT_CODE" = 1
    check "$runtime: with its code" grep -q 'ended before it was ready: it exited with code 3' "$SCRATCH/err"
    check "$runtime: the variable came through whole" grep -qF 'word=a,b $(id)' "$SCRATCH/err"
    check "$runtime: the bind is there" grep -q 'from the node' "$SCRATCH/err"
    check "$runtime: the root cannot be written" grep -q 'Read-only file system' "$SCRATCH/err"
    check "$runtime: nothing is left" nothing_is_left

    say "($runtime) an image that is not there"
    missing=$SCRATCH/no-such.sif
    recipe "$runtime-missing" "$runtime" "$missing" "" "$DUMMY"
    lead "$SCRATCH/$runtime-missing.yaml"
    tail -n 2 "$SCRATCH/err"
    check "$runtime: the run fails" test "$EXIT_CODE" = 1
    check "$runtime: path, field and advice are told" grep -q "cannot read the image \`$missing\`, which artifacts.service.path names.*bring it to a folder" "$SCRATCH/err"

    say "($runtime) an image of the wrong kind"
    if [ "$runtime" = apptainer ]; then wrong=$SCRATCH/folder.sif; mkdir -p "$wrong"; else wrong=$SCRATCH/image.sif; fi
    recipe "$runtime-kind" "$runtime" "$wrong" "" "$DUMMY"
    lead "$SCRATCH/$runtime-kind.yaml"
    tail -n 2 "$SCRATCH/err"
    check "$runtime: the run fails" test "$EXIT_CODE" = 1
    check "$runtime: what it is and what is needed are told" grep -q "the image \`$wrong\` is a \(folder\|file\), and .*\`\(apptainer build\|ch-convert\)" "$SCRATCH/err"

    say "($runtime) a bind whose source is not there"
    recipe "$runtime-bind" "$runtime" "$image" "\"$SCRATCH/data:/mnt\", \"/no/such/folder:/mnt2\"" "$DUMMY"
    lead "$SCRATCH/$runtime-bind.yaml"
    tail -n 2 "$SCRATCH/err"
    check "$runtime: the run fails" test "$EXIT_CODE" = 1
    check "$runtime: source and entry are told" grep -q 'cannot bind `/no/such/folder`, which binds\[1\] names' "$SCRATCH/err"

    say "($runtime) a program that the image lacks"
    recipe "$runtime-program" "$runtime" "$image" "" "[no-such-program, $MARK]"
    lead "$SCRATCH/$runtime-program.yaml"
    tail -n 3 "$SCRATCH/err"
    check "$runtime: the run fails" test "$EXIT_CODE" = 1
    check "$runtime: the runtime's own words are told" grep -q 'no-such-program' "$SCRATCH/err"
    check "$runtime: nothing is left" nothing_is_left
done

say "further words reach the runtime alone"
if [ -L "$BIN/apptainer" ]; then
    recipe words apptainer "$SCRATCH/image.sif" "" "$DUMMY"
    sed -i 's/^artifacts: {/artifacts: {extra_args: [--writable-tmpfs, --pwd, \/tmp], /' "$SCRATCH/words.yaml"
    lead "$SCRATCH/words.yaml"
    check "the run ends with 0" test "$EXIT_CODE" = 0
    check "they stand before the image" sh -c "tail -n 1 '$APPTAINER_STANDIN_LOG' | jq -e '. as \$words | index(\"--writable-tmpfs\") < index(\"$SCRATCH/image.sif\")' >/dev/null"
fi

if [ -L "$BIN/apptainer" ]; then
    export APPTAINER_STANDIN_REGISTRY=$SCRATCH/registry
    mkdir -p "$APPTAINER_STANDIN_REGISTRY"
    cp "$SCRATCH/image.sif" "$APPTAINER_STANDIN_REGISTRY/site_boxed_1"
    pulled() { # pulled NAME REMOTE FURTHER: a recipe of two servers whose image is not there
        recipe "$1" apptainer "$SCRATCH/store/$1.sif" "" "$DUMMY"
        sed -i "s|sif\"}}|sif\", remote: \"$2\"}}|; s|mode: local|mode: local, node_allocation: {servers: {nodes: 2}, clients: {nodes: 1}}|" "$SCRATCH/$1.yaml"
    }
    drafts() { find "$SCRATCH/store" -name '*.partial' -o -name '*.pulling'; }
    no_drafts() { [ -z "$(drafts)" ]; }

    say "two server nodes lack an image that can be pulled"
    pulled brought docker://site/boxed:1
    : >"$APPTAINER_STANDIN_LOG"
    APPTAINER_STANDIN_PULL_SECONDS=2 lead "$SCRATCH/brought.yaml" --local-nodes 3
    cat "$RUN_DIR/summary.md"
    check "the run ends with 0" test "$EXIT_CODE" = 0
    check "one of them pulled it, once" test "$(grep -c '"pull"' "$APPTAINER_STANDIN_LOG")" = 1
    check "both ran it" test "$(grep -c '"exec"' "$APPTAINER_STANDIN_LOG")" = 2
    check "the image is whole" cmp "$SCRATCH/image.sif" "$SCRATCH/store/brought.sif"
    check "no half of it is left" no_drafts
    check "nothing is left" nothing_is_left

    say "an image that the registry lacks"
    pulled lacked docker://site/none:1
    lead "$SCRATCH/lacked.yaml" --local-nodes 3
    tail -n 3 "$SCRATCH/err"
    check "the run fails" test "$EXIT_CODE" = 1
    check "what, whence, why and what to do are told" grep -q 'cannot pull the image `.*lacked.sif` from `docker://site/none:1`, which artifacts.service names: .*exited with code 255' "$SCRATCH/err"
    check "and what to do" grep -q 'hbnode prefetch RECIPE' "$SCRATCH/err"
    check "no half of it is left" no_drafts

    say "killed in the middle of a pull"
    pulled killed docker://site/boxed:1
    APPTAINER_STANDIN_PULL_SECONDS=30 "$HBNODE" --leader "$SCRATCH/killed.yaml" --local-nodes 3 --results "$SCRATCH/results" --json >/dev/null 2>&1 &
    leader=$!
    check "half of it is there" wait_for 20 sh -c "ls '$SCRATCH'/store/killed.sif.*.partial >/dev/null 2>&1"
    kill -9 "$leader"
    no_pull() { ! pgrep -f 'pull .*killed.sif' >/dev/null; }
    check "nobody goes on pulling" wait_for 40 no_pull
    check "no image has the name" test ! -e "$SCRATCH/store/killed.sif"
    say "and the next run pulls it"
    lead "$SCRATCH/killed.yaml" --local-nodes 3
    check "the run ends with 0" test "$EXIT_CODE" = 0
    check "the image is whole" cmp "$SCRATCH/image.sif" "$SCRATCH/store/killed.sif"
fi

say "a runtime that is not on the node"
recipe absent podman "$SCRATCH/image" "" "$DUMMY"
if command -v podman >/dev/null; then
    say "SKIPPED: podman is here"
else
    lead "$SCRATCH/absent.yaml"
    tail -n 2 "$SCRATCH/err"
    check "the run fails" test "$EXIT_CODE" = 1
    check "the program and what to do are told" grep -q 'cannot start `podman`.*load the module that brings it' "$SCRATCH/err"
fi
finish
