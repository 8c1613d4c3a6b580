#!/usr/bin/env bash
# taskslot with redis-cli (or valkey-cli), for shell scripts: redis-cli.sh HOST:PORT [QUEUE]
#
# -c follows MOVED to the key's node. Each call opens a connection, so this is for tens of tasks a second, not
# thousands. redis-cli has no time-out and never resends. The caller has to do that, with the same REQUEST token.
set -euo pipefail

address=${1:-127.0.0.1:6379}
queue=${2:-orders}
cli=(${REDIS_CLI:-redis-cli} -c -h "${address%:*}" -p "${address##*:}" --raw)

# Print the reply, a line for each part. An error is a line that begins with a code in capitals; then, and if there is
# no reply, the status is 1.
task() {
  local reply
  reply=$("${cli[@]}" "$@") || return 1
  printf '%s\n' "$reply"
  [[ ! $reply =~ ^[A-Z]{3,}\  ]]
}

fail() {
  printf '%s\n' "$*" >&2
  exit 1
}

token() { cat /proc/sys/kernel/random/uuid; }

# CRC16/XMODEM with all 16 bits: 12739, which is 0x31c3, for 123456789.
crc16() {
  local LC_ALL=C crc=0 byte at bit
  for ((at = 0; at < ${#1}; at++)); do
    printf -v byte %d "'${1:at:1}"
    ((crc ^= (byte & 255) << 8))
    for ((bit = 0; bit < 8; bit++)); do
      ((crc = (crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1) & 0xffff))
    done
  done
  echo "$crc"
}

# The shard of a task with a group or a token.
shard_of() { echo "${shards[$(crc16 "$1") % ${#shards[@]}]}"; }

# The shard of any other task: of two, the one with fewer ready tasks.
lighter_shard() {
  local one=$((RANDOM % ${#shards[@]}))
  local two=$(((one + 1 + RANDOM % (${#shards[@]} - 1)) % ${#shards[@]}))
  if (($(task TASK.LEN "${shards[one]}" READY) <= $(task TASK.LEN "${shards[two]}" READY))); then
    echo "${shards[one]}"
  else
    echo "${shards[two]}"
  fi
}

# push SHARD PAYLOAD [OPTION]...: counts new tasks. With UNIQUE the reply is the id, and 1 for new or 0 for found.
declare -A pushed
found=0
push() {
  local reply
  reply=$(task TASK.PUSH "$@" REQUEST "$(token)") || fail "$reply"
  if [[ ${reply##*$'\n'} == 0 ]]; then found=$((found + 1)); else pushed[$1]=$((pushed[$1] + 1)); fi
}

mapfile -t shards < <(task TASK.SHARDS "$queue" 7)
[ ${#shards[@]} = 7 ] || fail "no shards from $address"
for shard in "${shards[@]}"; do pushed[$shard]=0; done

for n in {0..11}; do push "$(shard_of "customer-$((n % 6))")" "of a group $n" GROUP "customer-$((n % 6))"; done
for n in {0..5}; do push "$(shard_of "invoice-$((n % 3))")" "unique $n" UNIQUE "invoice-$((n % 3))"; done
for n in {0..31}; do push "$(lighter_shard)" "plain $n"; done

# finish SHARD HANDLE...: extends all leases with one call, then finishes the tasks.
extended=0 done=0
finish() {
  local shard=$1 reply answer
  shift
  reply=$(task TASK.EXTEND "$shard" HANDLES $# "$@") || fail "$reply"
  for answer in $reply; do extended=$((extended + (answer > 0))); done
  reply=$(task TASK.ACK "$shard" HANDLES $# "$@") || fail "$reply"
  for answer in $reply; do done=$((done + (answer == 1))); done
}

# The reply of a claim has three lines for each task (if payloads have one line): its handle, payload and deliveries.
for shard in "${shards[@]}"; do
  while reply=$(task TASK.CLAIM "$shard" COUNT 10 REQUEST "$(token)") || fail "$reply" && [[ $reply ]]; do
    mapfile -t tasks <<<"$reply"
    handles=()
    for ((at = 0; at < ${#tasks[@]}; at += 3)); do handles+=("${tasks[at]}"); done
    finish "$shard" "${handles[@]}"
  done
done

# Wait for a task, here in the background; each call has its own connection. A slice that broke off is sent again with
# its token: if it got a task all the same, the copy gets the same one. After an empty reply, the next slice has a new
# token.
wait_for_one() {
  local reply id tries=0
  id=$(token)
  while true; do
    if reply=$(task TASK.CLAIM "$1" BLOCK 4000 REQUEST "$id"); then
      [[ -z $reply ]] || break
      id=$(token) tries=0
    else
      ((++tries <= 5)) || fail "$reply"
      sleep 1
    fi
  done
  printf '%s\n' "$reply"
}
exec {waiter}< <(wait_for_one "${shards[0]}")
until [[ $(task TASK.INFO "${shards[0]}" | grep -A1 -x blocked-workers) == *1 ]]; do sleep 0.02; done
push "${shards[0]}" "the last"
{ read -r handle; read -r waited; } <&"$waiter"
finish "${shards[0]}" "$handle"

# The errors, on another queue. A command that fails changes nothing.
beside="$queue-errors"
task TASK.CONFIG "$beside" SET max-len 1 >/dev/null
task TASK.PUSH "$beside" one >/dev/null
full=$(task TASK.PUSH "$beside" "one too many") || full=${full%% *}
task TASK.PAUSE "$beside" IN >/dev/null
paused=$(task TASK.PUSH "$beside" two) || paused=${paused%% *}
task TASK.RESUME "$beside" IN >/dev/null

same=$(token)
first=$(task TASK.CLAIM "$beside" REQUEST "$same")
again=$(task TASK.CLAIM "$beside" REQUEST "$same")
[[ $first && ${first%%$'\n'*} == "${again%%$'\n'*}" ]] && resent="the same" || resent=another

handle=${first%%$'\n'*}
task TASK.REQUEUE "$beside" "$handle" >/dev/null
stale=$(task TASK.EXTEND "$beside" "$handle") || stale=${stale%% *}
stale_of_many=$(task TASK.EXTEND "$beside" HANDLES 1 "$handle")
task TASK.PURGE "$beside" ALL >/dev/null

counts=""
for shard in "${shards[@]}"; do counts+="${counts:+,}\"$shard\":${pushed[$shard]}"; done
printf '{"client":"redis-cli","crc16":"%x","pushed":{%s},"found":%d,"done":%d,"extended":%d,"waited":"%s",' \
  "$(crc16 123456789)" "$counts" "$found" "$done" "$extended" "$waited"
printf '"full":"%s","paused":"%s","resent":"%s","stale":"%s","staleOfMany":%d}\n' \
  "$full" "$paused" "$resent" "$stale" "$stale_of_many"
