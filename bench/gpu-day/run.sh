#!/usr/bin/env bash
# Measures all that a machine with a GPU can tell of the project, in at most 550 seconds:
#   bash bench/gpu-day/run.sh                             everything; README.md says what comes out
#   GPU_DAY_ONLY=kernels,torch bash bench/gpu-day/run.sh  these stages; earlier results in $OUT fill the table
#   GPU_DAY_REHEARSE=1 bash bench/gpu-day/run.sh          small sizes on the software driver, a few minutes
# Stages, the most telling first. Each runs in processes of its own under a time limit and writes what it
# finds at once, so that a failure, a crash or a hang costs the others nothing:
#   facts      driver, adapter, features, limits; whether f16 and matrices of subgroups work (else without them)
#   correct    tests of kernels, ops, models and optimizers; results at production sizes against float64, twice
#   kernels    copy, products, attention, norms, softmax, GELU, losses, AdamW by the device's time stamps
#   models     GPT-2 124M training, BERT fine-tuning, MiniLM forward, decoding
#   torch      the same kernels and models in PyTorch on this card
#   gradients  GPT-2 124M with shared weights: loss and all gradients against PyTorch in float64
#   robust     products, attention and GPT-2 with Dawn's disable_robustness
#   tune       plans of GPT-2's products, the fastest kept in tune.json, then GPT-2 with them
#   compile    GPT-2 by torch.compile
#   bench      bench/gpt2.ts as it is
# Environment:
#   OUT              folder of the results, default runs/gpu-day
#   GPU_DAY_CAP      seconds for everything, default 550
#   GPU_DAY_PYTHON   the python3 that has torch, transformers and safetensors
#   GPU_DAY_COMMIT   the project's commit, where there is no clone to ask
#   GPU_DAY_FAIL     "part of a case's name=abort|hang|throw,...": failures to rehearse
#   GPU_DAY_LIMIT    seconds that a case may take
#   GPU_DAY_FILTER   only cases whose name contains this
#   GPU_DAY_EXPLAIN  1 prints the compiled program of GPT-2's step
# Exit code 2 where no GPU was found, else 0: failures are rows of the table.
set -u
SECONDS=0
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
ulimit -c 0
DAY=bench/gpu-day
ROOT=$PWD
OUT=${OUT:-runs/gpu-day}
if ! [ -d node_modules ] || ! command -v node > /dev/null; then
  echo 'gpu-day: needs node and the packages of the project; run npm ci first' >&2
  exit 1
fi
mkdir -p "$OUT" && OUT=$(cd "$OUT" && pwd) || exit 1
REHEARSE=${GPU_DAY_REHEARSE:-0}
SLOWER=1 # times as long for each stage
[ "$REHEARSE" = 1 ] && SLOWER=6
CAP=${GPU_DAY_CAP:-$((550 * SLOWER))}
PYTHON=${GPU_DAY_PYTHON:-python3}
WORK=${TMPDIR:-/tmp}/tapeform-gpu-day # caches, so that later runs on this machine compile less
CORES=$(nproc 2> /dev/null || echo 4)
export OUT GPU_DAY_REHEARSE=$REHEARSE TAPEFORM_QUIET=1 PYTHONUNBUFFERED=1 GPU_DAY_STAGE=''
mkdir -p "$WORK/cache/tapeform" "$WORK/tuned/tapeform" "$WORK/shaders" "$WORK/inductor" || exit 1
if [ "$REHEARSE" = 1 ]; then
  # The software driver lies in the user's cache.
  for folder in "${XDG_CACHE_HOME:-$HOME/.cache}"/tapeform/{vulkan,swiftshader}-*; do
    if [ -e "$folder" ]; then for to in cache tuned; do ln -sfn "$folder" "$WORK/$to/tapeform/"; done; fi
  done
  TORCH=(--device cpu --tiny)
else
  export TAPEFORM_DRIVER=system # nothing is fetched
  TORCH=()
fi
export XDG_CACHE_HOME=$WORK/cache TORCHINDUCTOR_CACHE_DIR=$WORK/inductor
# The driver's cache of compiled shaders: what the tests compile the benchmarks need not.
export __GL_SHADER_DISK_CACHE=1 __GL_SHADER_DISK_CACHE_PATH=$WORK/shaders __GL_SHADER_DISK_CACHE_SKIP_CLEANUP=1

RESULTS=$OUT/results.jsonl
COMMIT=${GPU_DAY_COMMIT:-$(git describe --always --dirty=+ --abbrev=12 --exclude='*' 2> /dev/null || cat .gpu/commit 2> /dev/null || echo unknown)}
if [ -z "${GPU_DAY_ONLY:-}" ]; then
  rm -f "$OUT"/{results.jsonl,summary.txt,gpu-day.json,tune.json} "$OUT"/*.log # never the figures of two runs in one table
elif [ ! -e "$RESULTS" ] && grep -qsF "\"key\":\"commit\",\"value\":\"$COMMIT\"" "$WORK/results.jsonl"; then
  cp "$WORK/results.jsonl" "$RESULTS" # a lent machine's $OUT is empty each time; never another commit's figures
fi
touch "$RESULTS"

note() { printf '%4ds  %s\n' "$SECONDS" "$*" | tee -a "$OUT/run.log"; }
plain() { printf '%s' "$*" | tr -d '"\\' | tr -s '[:space:]' ' ' | cut -c1-600; }
fact() { printf '{"who":"run","key":"%s","value":"%s"}\n' "$1" "$(plain "$2")" >> "$RESULTS"; }
remaining() { local left=$((UNTIL - $(date +%s))); echo $((left > 0 ? left : 0)); }
wanted() { [ -z "${GPU_DAY_ONLY:-}" ] || [[ ",$GPU_DAY_ONLY," == *",$1,"* ]]; }
table() { node --import tsx "$DAY/table.ts" "$RESULTS" "$@"; }
summary() {
  table --write "$OUT" >> "$OUT/run.log" 2>&1
  cp "$RESULTS" "$WORK/results.jsonl"
}

# What several processes ran into at once stays readable: a file that grew too large keeps its two ends.
trim() {
  local file size
  for file in "$OUT"/*.log; do
    size=$(stat -c %s "$file" 2>/dev/null || echo 0)
    if [ "$size" -gt 12000000 ]; then
      { head -c 5000000 "$file"; printf '\n... cut ...\n'; tail -c 5000000 "$file"; } > "$WORK/trimmed" && cp "$WORK/trimmed" "$file"
    fi
  done
}

# As timeout, but does not wait for what cannot be killed (a process in a driver's call that never returns).
bounded() {
  local seconds=$1 pid end
  shift
  timeout -k 3 "$seconds" "$@" &
  pid=$!
  end=$((SECONDS + seconds + 8))
  while kill -0 "$pid" 2> /dev/null; do
    if [ "$SECONDS" -ge "$end" ]; then
      echo "given up, it cannot be killed: $*"
      return 125
    fi
    sleep 0.2
  done
  wait "$pid"
}

# stage NAME SECONDS FUNCTION: within its own limit and what is left of all.
stage() {
  local name=$1 begun=$SECONDS budget=$((CAP - 6 - SECONDS)) most=$(($2 * SLOWER)) rc
  wanted "$name" || return 0
  [ "$budget" -le "$most" ] || budget=$most
  if [ "$budget" -lt 8 ]; then
    note "$name: no time left"
    printf '{"who":"run","key":"stage %s","seconds":0,"rc":"no time left"}\n' "$name" >> "$RESULTS"
    return 0
  fi
  if [ "$NO_GPU" = 1 ] && [ "$name" != torch ] && [ "$name" != compile ]; then
    note "$name: left out, there is no GPU for it"
    return 0
  fi
  note "$name: at most $budget s"
  UNTIL=$(($(date +%s) + budget))
  export GPU_DAY_UNTIL=$UNTIL GPU_DAY_STAGE=$name
  "$3"
  rc=$?
  printf '{"who":"run","key":"stage %s","seconds":%d,"rc":%d}\n' "$name" $((SECONDS - begun)) "$rc" >> "$RESULTS"
  note "$name: $((SECONDS - begun)) s, rc $rc"
  if [ -s "$WORK/clocks.csv" ]; then
    { echo "clocks during $name (sm MHz, memory MHz, W, C, %, MiB):"; cat "$WORK/clocks.csv"; } >> "$OUT/run.log"
    : > "$WORK/clocks.csv"
  fi
  trim
  summary
}

# cases NAME LOG STAGE ARGUMENT...: a stage of day.ts; after a crash or a hang it is started again for the cases that were not begun.
cases() {
  local log=$2 started="$WORK/started.$1" before rc left last
  shift 2
  : > "$started"
  while :; do
    left=$(remaining)
    if [ "$left" -lt 3 ]; then
      printf '{"who":"run","stage":"%s","key":"unfinished %s"}\n' "$GPU_DAY_STAGE" "$(plain "$@")" >> "$RESULTS"
      return 124
    fi
    before=$(wc -l < "$started")
    GPU_DAY_STARTED=$started bounded "$left" node --import tsx "$DAY/day.ts" "$@" >> "$log" 2>&1
    rc=$?
    [ "$rc" -ne 0 ] || return 0
    last=$(tail -n 1 "$started")
    if [ "$rc" -ne 75 ] && [ "$rc" -ne 124 ]; then
      printf '{"who":"%s","stage":"%s","key":"%s","error":"ended with code %d in %s"}\n' "${GPU_DAY_WHO:-tapeform}" "$GPU_DAY_STAGE" "$(plain "$* after $before cases")" "$rc" "$(plain "${last:-its start}")" >> "$RESULTS"
    fi
    [ "$(wc -l < "$started")" -gt "$before" ] || return "$rc"
  done
}

python() { bounded "$1" "$PYTHON" "$DAY/torch_baseline.py" "${@:2}" "${TORCH[@]}"; }

# How much of the device is used: all; not its subgroup matrices; not f16 either.
use() {
  unset NODE_OPTIONS GPU_DAY_HIDE GPU_DAY_WITHOUT GPU_DAY_ENABLE
  case $1 in
    no-matrices) export GPU_DAY_HIDE=chromium-experimental-subgroup-matrix ;;
    no-f16) export GPU_DAY_HIDE=shader-f16,chromium-experimental-subgroup-matrix GPU_DAY_WITHOUT=vulkan_enable_f16_on_nvidia ;;
  esac
  MODE=$1
  export GPU_DAY_MODE=$1
  [ "$1" = all ] || preload
}
preload() { export NODE_OPTIONS="--import=tsx --import=file://$ROOT/$DAY/toggles.ts"; }

# 0: a GPU computes (in a rehearsal: anything); 3: a software driver; others: none, or it aborts.
adapter() { bounded 40 node --import tsx "$DAY/day.ts" facts --brief >> "$OUT/run.log" 2>&1; }

# The environment's driver, any NVIDIA manifest on this machine, or one written here for NVIDIA's library.
find_driver() {
  local file library first
  adapter
  first=$?
  if [ "$first" -ge 124 ]; then # it aborts or hangs: perhaps not without f16
    use no-f16
    adapter && return 0
    use all
  fi
  [ "$first" -ne 0 ] || return 0
  [ "$REHEARSE" = 1 ] && return "$first"
  while read -r file; do
    [ "$SECONDS" -lt 60 ] || break
    export VK_DRIVER_FILES=$file
    echo "trying $file" >> "$OUT/run.log"
    adapter && return 0
  done < <(
    find /usr/share/vulkan /usr/local/share/vulkan /etc/vulkan /usr/local/nvidia /opt -maxdepth 7 -name '*nvidia*.json' -path '*icd.d*' 2>/dev/null | sort -u
    { ldconfig -p 2>/dev/null | sed -n 's/.*=> \(.*lib\(GLX\|EGL\)_nvidia\.so\.0\)$/\1/p'; find /usr/lib /usr/lib64 /usr/local/nvidia /opt -maxdepth 4 \( -name 'libGLX_nvidia.so.0' -o -name 'libEGL_nvidia.so.0' \) 2>/dev/null; } | sort -u |
      while read -r library; do
        file=$WORK/$(basename "$library").json
        printf '{"file_format_version":"1.0.1","ICD":{"library_path":"%s","api_version":"1.3.0"}}\n' "$library" > "$file"
        echo "$file"
      done
  )
  unset VK_DRIVER_FILES
  adapter # and whatever the loader finds by itself
}

facts() {
  local mode rc
  {
    date -u
    uname -a
    nproc
    grep -m1 'model name' /proc/cpuinfo
    free -g | head -2
    command -v nvidia-smi > /dev/null && { timeout 20 nvidia-smi; timeout 20 nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm,clocks.max.memory,power.limit,pstate --format=csv; }
    command -v vulkaninfo > /dev/null && timeout 20 vulkaninfo --summary 2>&1 | tail -40
    echo "VK_DRIVER_FILES=${VK_DRIVER_FILES:-}, node $(node --version)"
    ls -l /usr/share/vulkan/icd.d /etc/vulkan/icd.d /usr/local/nvidia/share/vulkan/icd.d 2>/dev/null
    ldconfig -p 2>/dev/null | grep -E 'libvulkan|libGLX_nvidia' || echo 'no libvulkan known to ldconfig'
  } >> "$OUT/run.log" 2>&1
  fact commit "$COMMIT"
  fact gpu "$(timeout 20 nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm,power.limit --format=csv,noheader 2>/dev/null | head -1)"
  use all
  if ! find_driver; then
    NO_GPU=1
    fact driver 'NONE: no GPU adapter, the project was not measured (run.log)'
    note 'no GPU adapter, so that only PyTorch is measured; GPU_DAY_REHEARSE=1 rehearses on the software driver. Why:'
    grep -v "  no GPU adapter:" "$OUT/run.log" | tail -n 3
    return 1
  fi
  fact driver "VK_DRIVER_FILES=${VK_DRIVER_FILES:-}"
  for mode in all no-matrices no-f16; do
    use "$mode"
    bounded 60 node --import tsx "$DAY/day.ts" facts >> "$OUT/run.log" 2>&1 && bounded 90 node --import tsx "$DAY/day.ts" smoke >> "$OUT/run.log" 2>&1
    rc=$?
    if [ "$rc" = 0 ]; then
      fact mode "$mode"
      bounded 30 node --import tsx gpu/info.ts >> "$OUT/run.log" 2>&1
      note "the device works with: $mode"
      return 0
    fi
    note "with $mode it fails (code $rc)"
    fact "mode $mode" "fails with code $rc"
  done
  NO_GPU=1
  fact mode 'none works: the project was not measured (run.log)'
  return 1
}

PROBES=(products-f16 plans-f16-nn plans-f16-nt plans-f16-tn loss attention-f16 attention-f32 products-f32 plans-f32 rows)
correct() {
  local pids=() probe tests=()
  [ "$REHEARSE" = 1 ] && tests=(kernels/tune ops/scan models/gpt2-forward train/optim)
  if [ "$CORES" -ge 8 ]; then
    # Nothing here is timed: side by side. torch.compile fills its cache meanwhile.
    for probe in "${PROBES[@]}"; do cases "probe-$probe" "$OUT/correct.log" probe "$probe" & pids+=($!); done
    python "$(remaining)" compile --warm >> "$OUT/torch.log" 2>&1 & pids+=($!)
    bounded "$(remaining)" node --import tsx "$DAY/day.ts" tests $((CORES * 3 / 4)) "${tests[@]}" >> "$OUT/correct.log" 2>&1 & pids+=($!)
    wait "${pids[@]}"
  else
    bounded "$(remaining)" node --import tsx "$DAY/day.ts" tests 2 "${tests[@]}" >> "$OUT/correct.log" 2>&1
    for probe in "${PROBES[@]}"; do cases "probe-$probe" "$OUT/correct.log" probe "$probe"; done
  fi
  return 0
}

kernels() { cases kernels "$OUT/kernels.log" kernels; }

models() {
  local one rc=0
  for one in 'gpt2 f16' 'gpt2 f32' 'bert f16' 'minilm f16' 'decode f16' 'minilm f32' 'bert f32' 'decode f32'; do
    # shellcheck disable=SC2086
    cases "models-${one// /-}" "$OUT/models.log" models $one || rc=$?
  done
  # A kernel on matrices that fails takes the whole model with it: then without them.
  if [ "$MODE" = all ] && ! grep -q '"who":"tapeform".*"key":"gpt2 training [0-9x]*","type":"f16","ms"' "$RESULTS"; then
    note 'GPT-2 in f16 failed: again without matrices'
    use no-matrices
    GPU_DAY_WHO=tapeform-no-matrices cases models-without "$OUT/models.log" models gpt2 f16
    use all
  fi
  return $rc
}

torch() {
  local half=$(($(remaining) * 11 / 20)) rc=0 all=$GPU_DAY_UNTIL
  export GPU_DAY_UNTIL=$(($(date +%s) + half))
  python "$half" kernels >> "$OUT/torch.log" 2>&1 || rc=$?
  export GPU_DAY_UNTIL=$all
  python "$(remaining)" models >> "$OUT/torch.log" 2>&1 || rc=$?
  return $rc
}

gradients() {
  rm -rf "$WORK/shared"
  python "$(remaining)" export "$WORK/shared" >> "$OUT/torch.log" 2>&1 || return
  cases gradients "$OUT/models.log" gradients "$WORK/shared"
}

robust() {
  export GPU_DAY_WHO=tapeform-unchecked GPU_DAY_ENABLE=disable_robustness
  preload
  cases robust-gpt2 "$OUT/models.log" models gpt2 f16
  cases robust-kernels "$OUT/kernels.log" kernels products attention gpt2
  unset GPU_DAY_WHO
  use "$MODE"
}

tune() {
  export XDG_CACHE_HOME=$WORK/tuned
  UNTIL=$((UNTIL - 14)) # for the model at the end
  export GPU_DAY_UNTIL=$UNTIL
  cases tune "$OUT/kernels.log" tune
  UNTIL=$((UNTIL + 14))
  export GPU_DAY_UNTIL=$UNTIL
  GPU_DAY_WHO=tapeform-tuned cases tuned "$OUT/models.log" models gpt2 f16
  export XDG_CACHE_HOME=$WORK/cache
}

compiled() { python "$(remaining)" compile >> "$OUT/torch.log" 2>&1; }

bench() {
  local sizes=(--full --repeats 5) type
  [ "$REHEARSE" = 1 ] && sizes=(--reduced --layers 1 --tokens 32 --vocabulary 512 --repeats 2)
  for type in --f16 ''; do
    [ "$(remaining)" -ge 5 ] || return 124
    [ "$type" = --f16 ] && [ "$MODE" = no-f16 ] && continue
    # shellcheck disable=SC2086
    bounded "$(remaining)" node --import tsx bench/gpt2.ts "${sizes[@]}" $type > "$WORK/bench.txt" 2>&1
    cat "$WORK/bench.txt" >> "$OUT/models.log"
    fact "bench/gpt2 ${type:---f32}" "$(grep -E '^best matmul|^  compiled' "$WORK/bench.txt" | tr '\n' ';')"
  done
}

NO_GPU=0
MODE=all
UNTIL=$(($(date +%s) + 60))
: > "$WORK/clocks.csv"
if command -v nvidia-smi > /dev/null; then
  nvidia-smi --query-gpu=clocks.sm,clocks.mem,power.draw,temperature.gpu,utilization.gpu,memory.used --format=csv,noheader,nounits -l 2 >> "$WORK/clocks.csv" 2>/dev/null &
fi
# Each child leads a group of its own.
trap 'for job in $(jobs -p); do kill -- "-$job" 2>/dev/null || kill "$job" 2>/dev/null; done' EXIT
trap 'exit 143' TERM INT

note "cap $CAP s, $CORES cores, results in $OUT"
# The others need to know which driver and which features work.
[ -z "${GPU_DAY_ONLY:-}" ] || GPU_DAY_ONLY="facts,$GPU_DAY_ONLY"
stage facts 60 facts
stage correct 125 correct
stage kernels 80 kernels
stage models 110 models
stage torch 105 torch
stage gradients 50 gradients
stage robust 50 robust
stage tune 75 tune
stage compile 50 compiled
stage bench 45 bench
summary
note "done"
echo
table
[ "$NO_GPU" = 0 ] || exit 2
