/**
 * Names and slots of shards: the n queues that together hold one logical queue, spread over the slots of a cluster.
 *
 * Shard i of `orders` is `orders:{tag}`. Its slot is the 14 bits of i in reverse. Its tag is the shortest text of 0-9a-z
 * with that slot; of several, the first in that order. TASK.SHARDS returns the same names. A group or token belongs to
 * shard CRC16(its bytes) modulo n; a batch too, by its name or by the name's hash tag.
 */

const SLOTS = 16384;
const ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz";

const TABLE = Uint16Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 8;
  for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1;
  return crc;
});

/** CRC16/XMODEM with all 16 bits, from which Redis Cluster computes slots (`123456789` gives 0x31C3). */
export function crc16(name: string): number {
  let crc = 0;
  for (const byte of Buffer.from(name)) crc = ((crc << 8) & 0xffff) ^ (TABLE[(crc >> 8) ^ byte] as number);
  return crc;
}

/** The slot of the shard with this number: its 14 bits in reverse. */
function slotOfShard(number: number): number {
  let slot = 0;
  for (let bit = 0; bit < 14; bit++) slot |= ((number >> bit) & 1) << (13 - bit);
  return slot;
}

let found: string[] | undefined;

/** For each slot the shortest tag of 0-9a-z in it; of several, the first. Computed once. */
function tags(): string[] {
  if (found) return found;
  found = [];
  let missing = SLOTS;
  for (let before = [""]; missing;) {
    const longer = before.flatMap((start) => [...ALPHABET].map((letter) => start + letter));
    for (const tag of longer) {
      const slot = crc16(tag) % SLOTS;
      if (found[slot] === undefined) {
        found[slot] = tag;
        missing -= 1;
      }
    }
    before = longer;
  }
  return found;
}

/** The keys of a queue's shards, the same as TASK.SHARDS returns. Throws RangeError. */
export function shardNames(queue: string, number: number): string[] {
  if (!Number.isInteger(number) || number < 1 || number > SLOTS) {
    throw new RangeError(`a queue has 1 to ${SLOTS} shards, not ${number}`);
  }
  if (queue.includes("{")) throw new RangeError("a queue name that contains '{' cannot be sharded");
  return Array.from({ length: number }, (_, shard) => `${queue}:{${tags()[slotOfShard(shard)]}}`);
}

/** The number of the shard to which a group or token belongs, if there are `number` shards. */
export function shardOfName(name: string, number: number): number {
  return crc16(name) % number;
}

/** The number of the shard on which a batch lives. The batch `{acme}import-7` is on the shard of the group `acme`. */
export function shardOfBatch(name: string, number: number): number {
  return crc16(/\{([^}]+)\}/.exec(tagged(name))?.[1] ?? name) % number;
}

/** The name from its first brace on, up to the first closing one after it: only that can be its hash tag. */
function tagged(name: string): string {
  const start = name.indexOf("{");
  const end = start < 0 ? -1 : name.indexOf("}", start + 1);
  return end < 0 ? "" : name.slice(start, end + 1);
}
