//! The choice of a task's shard, and claims that are safe to send again.

use std::time::{Duration, Instant};

use rand::RngExt;
use redis::cluster::{ClusterClient, ClusterConnection};
use redis::{cmd, RedisError, RedisResult};

/// A claimed task: its handle, its payload, and how often it was claimed.
pub type Task = (String, String, u64);

/// The longest wait of one claim, below every client's own time-outs.
const SLICE: Duration = Duration::from_millis(4000);
/// How long a claim is sent again before its error is returned.
const PATIENCE: Duration = Duration::from_secs(30);

/// CRC16/XMODEM, the hash of Redis Cluster, but all 16 bits of it: 0x31c3 for `123456789`.
pub fn crc16(text: &str) -> u16 {
    crc16::State::<crc16::XMODEM>::calculate(text.as_bytes())
}

/// A token for one request. To send the same request again, use the same token.
pub fn token() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// What decides the shard of a task.
#[derive(Clone, Copy)]
pub enum By<'a> {
    Group(&'a str),
    Unique(&'a str),
    Load,
}

/// The shard for a task: by the hash of its group or token, otherwise the less loaded of two.
pub fn shard_for<'s>(conn: &mut ClusterConnection, shards: &'s [String], by: By) -> RedisResult<&'s str> {
    let n = shards.len();
    match by {
        By::Group(name) | By::Unique(name) => return Ok(&shards[usize::from(crc16(name)) % n]),
        By::Load if n == 1 => return Ok(&shards[0]),
        By::Load => {}
    }
    let mut rng = rand::rng();
    let at = rng.random_range(0..n);
    let pair = [at, (at + 1 + rng.random_range(0..n - 1)) % n].map(|at| &shards[at]);
    let mut ready = [0; 2];
    for (ready, shard) in ready.iter_mut().zip(pair) {
        // redis-rs routes a command that it doesn't know by its first argument.
        *ready = cmd("TASK.LEN").arg(shard).arg("READY").query::<u64>(conn)?;
    }
    Ok(if ready[0] <= ready[1] { pair[0] } else { pair[1] })
}

/// Push a task to its shard. Returns the shard, and whether the task is new.
pub fn push<'s>(
    conn: &mut ClusterConnection,
    shards: &'s [String],
    payload: &str,
    by: By,
) -> RedisResult<(&'s str, bool)> {
    let shard = shard_for(conn, shards, by)?;
    let mut push = cmd("TASK.PUSH");
    push.arg(shard).arg(payload).arg("REQUEST").arg(token());
    match by {
        By::Group(name) => push.arg("GROUP").arg(name),
        By::Unique(name) => {
            let (_id, new): (String, bool) = push.arg("UNIQUE").arg(name).query(conn)?;
            return Ok((shard, new));
        }
        By::Load => &mut push,
    };
    push.query::<String>(conn).map(|_id| (shard, true))
}

/// Claim up to `count` tasks without waiting.
pub fn claim(conn: &mut ClusterConnection, shard: &str, count: u32, token: &str) -> RedisResult<Vec<Task>> {
    cmd("TASK.CLAIM").arg(shard).arg("COUNT").arg(count).arg("REQUEST").arg(token).query(conn)
}

/// Wait until there is a task, on a connection of its own, because a waiting claim delays everything behind it.
///
/// A slice that broke off is sent again with the same token, for half a minute: if the server has already leased a
/// task to it, the copy gets the same one. It needs a new connection, because the first copy still blocks the old
/// one.
pub fn wait(client: &ClusterClient, shard: &str) -> RedisResult<Vec<Task>> {
    let mut conn = connect(client)?;
    let (mut id, mut answered) = (token(), Instant::now());
    loop {
        let mut claim = cmd("TASK.CLAIM");
        claim.arg(shard).arg("BLOCK").arg(SLICE.as_millis() as u64).arg("REQUEST").arg(&id);
        match claim.query::<Vec<Task>>(&mut conn) {
            Ok(tasks) if !tasks.is_empty() => return Ok(tasks),
            Ok(_) => (id, answered) = (token(), Instant::now()),
            Err(error) if is_final(&error) || answered.elapsed() > PATIENCE => return Err(error),
            Err(_) => {
                std::thread::sleep(Duration::from_millis(200));
                conn = connect(client).unwrap_or(conn);
            }
        }
    }
}

/// A connection for claims that wait. Its time-out is longer than a slice, so that it notices a node that hangs.
fn connect(client: &ClusterClient) -> RedisResult<ClusterConnection> {
    let conn = client.get_connection()?;
    conn.set_read_timeout(Some(SLICE + Duration::from_secs(2)))?;
    Ok(conn)
}

/// Whether the same claim would fail again. Failovers, slot migrations and lost connections pass.
fn is_final(error: &RedisError) -> bool {
    let passing = ["UNBLOCKED", "MOVED", "CLUSTERDOWN", "TRYAGAIN", "LOADING", "READONLY", "MASTERDOWN"];
    error.code().is_some_and(|word| !passing.contains(&word))
}
