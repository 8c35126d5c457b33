#!/usr/bin/env bash
# What to run when there is a GPU:  scripts/gpu.sh JOB [TASK]      (docs/gpu.md says more)
#
#   job          needs                what it does                                              records under $RUNS/
#   -----------  -------------------  --------------------------------------------------------  -----------------------
#   check                             fast tests; rows independent; device agrees with the CPU  check/
#   throughput                        tokens/s of fit, paths/s of learn against batch size,     throughput/
#                                     in bfloat16 and float32, as ratios to the CPU
#   fit-large    TASK                 a larger denoiser for the task                            fit-large-TASK/
#   learn-large  TASK, its fit-large  its learned order                                         learn-large-TASK/
#   bench        TASK, both of them   the order against every heuristic at its best settings    bench-TASK/
#   all          TASK                 the five in turn                                          all of these
#
# TASK is wordprob (default), gsm8k, mwp or jsonl; the last three read $DATA (see `unmask list tasks`).
# Each job stops after $LIMIT seconds with exit code 124. The same command goes on where it was, until it says `done`.
#
# Settings, from the environment:
#   DEVICE=cuda  DTYPE=bfloat16  LIMIT=540  RUNS=runs/gpu  WORK=$RUNS/work  DATA=  PYTHON=python3
#   UPDATES=     updates of fit-large or learn-large, in place of the number below
#   PRESET=      fit-large and learn-large as this preset says (shallow), in place of the sizes below
#   COMPILE=1    compile the network of fit-large and throughput (needs a C compiler)
#   COMMIT=      what the records say where there is no repository to ask
#   WHEELS=runs/wheels   pure Python wheels found here are put on the path as they are
#   QUICK=1      everything tiny: shows in a minute or two that the jobs run, on a CPU too (DEVICE=cpu)
#   DRY=1        print the commands instead of running them
set -uo pipefail
cd "$(dirname "$0")/.." || exit 2

: "${DEVICE:=cuda}" "${DTYPE:=bfloat16}" "${LIMIT:=540}" "${RUNS:=runs/gpu}" "${PYTHON:=python3}"
: "${WORK:=$RUNS/work}" "${DATA:=}" "${UPDATES:=}" "${PRESET:=}" "${COMPILE:=}" "${COMMIT:=}" "${WHEELS:=runs/wheels}"
: "${QUICK:=}" "${DRY:=}"

PYTHONPATH="src${PYTHONPATH:+:$PYTHONPATH}"
for wheel in "$WHEELS"/*-none-any.whl; do
    [[ -f $wheel ]] && PYTHONPATH+=":$wheel"
done
export PYTHONPATH COMMIT PYTHONUNBUFFERED=1

SIZES=(6x128 8x384 12x512)  # layers x width of `throughput`; the first is the bundled denoiser's
SAMPLERS=(iid random left-to-right top-prob margin entropy threshold entropy-bounded least-certain)

say() { printf '%s\n' "$*" >&2; }

# ---- one job: a folder of records, commands under one time limit, a record at the end

begin() {  # NAME
    job=$1 records=$RUNS/$1 began=$SECONDS status=0 command=() notes=()
    [[ -n $DRY ]] || mkdir -p "$records" "$WORK"
}

limited() {  # COMMAND...: run it for what is left of LIMIT; sets status unless an earlier one failed
    command=("$@")
    if [[ -n $DRY ]]; then
        printf '%q ' "$@"
        printf '\n'
        return 0
    fi
    local left=$((LIMIT - SECONDS + began)) code=124
    if ((left > 0)); then
        timeout --kill-after=20 "$left" "$@" 2>&1 | tee -a "$records/output.txt"
        code=${PIPESTATUS[0]}
    fi
    ((status == 0)) && status=$code
    return "$code"
}

finish() {  # [RUN FOLDER]: write the record, say how it ended; the job's exit code
    [[ -n $DRY ]] && return 0
    local options=(--out "$records" --job "$job" --status "$status" --seconds $((SECONDS - began)) --device "$DEVICE")
    [[ -n ${1:-} ]] && options+=(--run "$1")
    local note
    for note in "${notes[@]}"; do options+=(--note "$note"); done
    "$PYTHON" benchmarks/record.py "${options[@]}" -- "${command[@]}" || status=1
    case $status in
        0) say "$job: done; see $records/record.json" ;;
        124 | 137) say "$job: time is up after $((SECONDS - began)) s; the same command goes on from here" ;;
        *) say "$job: failed with exit code $status; see $records/output.txt" ;;
    esac
    return "$status"
}

unmask() { limited "$PYTHON" -m unmask "$@"; }

has() {  # MODULE...: whether Python can import them all
    local module
    for module in "$@"; do "$PYTHON" -c "import $module" 2>/dev/null || return 1; done
}

# ---- the jobs

check() {
    begin check
    if [[ -n $DRY ]] || has pytest hypothesis tyro rich; then
        limited "$PYTHON" -m pytest -m "not slow and not gpu" -p no:cacheprovider
    else
        notes+=("the tests were left out: pytest, hypothesis, tyro or rich is missing")
        say "check: ${notes[*]}"
    fi
    limited "$PYTHON" benchmarks/agreement.py --device "$DEVICE" --out "$records/agreement.json"
    finish
}

throughput() {
    begin throughput
    local size options dtypes=("$DTYPE")
    [[ $DTYPE == float32 ]] || dtypes+=(float32)
    [[ -n $QUICK ]] && SIZES=("${SIZES[0]}")
    for size in "${SIZES[@]}"; do
        if [[ -s $records/$size.json ]]; then
            say "throughput: $size is measured; remove $records/$size.json to do it again"
            continue
        fi
        options=(--device "$DEVICE" --size "$size" --dtypes "${dtypes[@]}" --rows 16 64 256 1024)
        [[ -n $COMPILE ]] && options+=(--compile)
        [[ -n $QUICK ]] && options+=(--quick)
        limited "$PYTHON" benchmarks/throughput.py "${options[@]}" --out "$records/$size.json" || break
    done
    finish
}

data() { [[ -n $DATA ]] && printf '%s\n' --data "$DATA"; }  # the flags that say where a task reads

preset_of() {  # TASK: the preset of its name, else that of wordprob
    case $1 in wordprob | gsm8k | mwp) printf '%s\n' "$1" ;; *) printf 'wordprob\n' ;; esac
}

fit_large() {  # TASK
    begin "fit-large-$1"
    local run=$WORK/$job size updates from
    mapfile -t from < <(data)
    case $1 in
        gsm8k) size=(--layers 12 --width 512 --heads 8 --hidden 1408 --vocabulary 4096 --rows 64) updates=6000 ;;
        mwp) size=(--layers 8 --width 384 --heads 6 --hidden 1056 --rows 64) updates=6000 ;;
        *) size=(--layers 8 --width 384 --heads 6 --hidden 1056 --rows 256) updates=12000 ;;
    esac
    [[ -n $PRESET ]] && size=() updates=
    local options=(--preset "${PRESET:-$(preset_of "$1")}" "${size[@]}" --workers 6)
    options+=(--checkpoint-every 500 --validate-every 2000)
    if [[ -n $QUICK ]]; then
        options=(--preset tiny --rows 4 --checkpoint-every 5 --validate-every 1000) updates=10
    fi
    if [[ -n $COMPILE ]]; then options+=(--compile); else options+=(--no-compile); fi
    updates=${UPDATES:-$updates}
    [[ -n $updates ]] && options+=(--updates "$updates")
    unmask fit --task "$1" "${from[@]}" "${options[@]}" \
        --device "$DEVICE" --dtype "$DTYPE" --out "$run"
    finish "$run"
}

learn_large() {  # TASK
    begin "learn-large-$1"
    local run=$WORK/$job updates=2000 from
    mapfile -t from < <(data)
    local options=(--preset "$(preset_of "$1")" --budgets 2 4 8 16)
    if [[ $1 == wordprob ]]; then  # taught: a lesson of 64 prompts takes a GPU as long as one of 2,048
        options+=(--rows 2048 --taught-rounds 3 --taught-batches 12 --width 128 --workers 6) updates=960
    else
        options+=(--rows 64)
    fi
    [[ -n $PRESET ]] && options=(--preset "$PRESET") updates=
    options+=(--checkpoint-every 50 --rule-count 500)
    if [[ -n $QUICK ]]; then
        options=(--preset tiny --budgets 2 4 --rule-count 4 --validate-every 1000) updates=6
    fi
    updates=${UPDATES:-$updates}
    [[ -n $updates ]] && options+=(--updates "$updates")
    unmask learn --denoiser "$WORK/fit-large-$1" --task "$1" "${from[@]}" "${options[@]}" \
        --device "$DEVICE" --dtype "$DTYPE" --out "$run"
    finish "$run"
}

bench() {  # TASK
    begin "bench-$1"
    local run=$WORK/$job from count=1000
    mapfile -t from < <(data)
    [[ $1 == gsm8k ]] && count=1319  # all of its test problems
    # in float32, so that a table made here can be compared with one made anywhere
    local options=(--samplers "${SAMPLERS[@]}" --budgets 4 8 --one-per-step top-prob left-to-right learned
        --tune --count "$count" --batch 256)
    if [[ -n $QUICK ]]; then
        options=(--samplers iid margin --budgets 2 --count 4 --tune --tune-count 2)
    fi
    unmask bench --denoiser "$WORK/fit-large-$1" --task "$1" "${from[@]}" \
        --orders "learned=$WORK/learn-large-$1" "${options[@]}" --device "$DEVICE" --dtype float32 --out "$run"
    finish "$run"
}

once() {  # NAME COMMAND...: the job, unless its record says it is done
    if [[ -z $DRY ]] && grep -qs '"finished": true' "$RUNS/$1/record.json"; then
        say "$1: done before; remove $RUNS/$1 to do it again"
        return 0
    fi
    "${@:2}"
}

all() {  # TASK
    once check check && once throughput throughput && once "fit-large-$1" fit_large "$1" &&
        once "learn-large-$1" learn_large "$1" && once "bench-$1" bench "$1"
}

main() {
    local name=${1:-help} task=${2:-wordprob}
    case $name in
        check | throughput | fit-large | learn-large | bench | all) ;;
        *)
            sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" >&2
            [[ $name == help || $name == --help || $name == -h ]] && return 0
            say "error: unknown job \`$name\`. Choices: check, throughput, fit-large, learn-large, bench, all"
            return 2
            ;;
    esac
    if [[ -z $DRY ]]; then
        has torch safetensors tokenizers rich ||
            { say "error: $PYTHON cannot import all of torch, safetensors, tokenizers and rich; see docs/gpu.md"; return 2; }
        [[ $name =~ ^(check|throughput)$ ]] || has tyro ||
            { say "error: $PYTHON cannot import tyro; see docs/gpu.md"; return 2; }
    fi
    case $name in
        fit-large) fit_large "$task" ;;
        learn-large) learn_large "$task" ;;
        *) "$name" "$task" ;;
    esac
}

main "$@"
