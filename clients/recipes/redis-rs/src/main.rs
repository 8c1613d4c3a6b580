//! taskslot with redis-rs: `taskslot-recipe HOST:PORT [QUEUE]`. Fills a sharded queue, empties it, provokes the errors,
//! and ends with an account.

mod sharded;

use std::collections::{BTreeMap, HashMap};
use std::thread;
use std::time::Duration;

use redis::cluster::{ClusterClient, ClusterConnection};
use redis::{cmd, RedisResult, Value};
use sharded::{claim, crc16, push, token, wait, By, Task};

const SHARDS: usize = 7;
const GROUPS: usize = 12;

/// What happened, for comparison with the servers' figures.
#[derive(Default)]
struct Account {
    pushed: BTreeMap<String, usize>,
    found: usize,
    extended: usize,
    done: usize,
}

fn main() -> RedisResult<()> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:6379".into());
    let queue = arguments.next().unwrap_or_else(|| "orders".into());

    let client = ClusterClient::new(vec![format!("redis://{address}")])?;
    let mut conn = client.get_connection()?;
    let shards: Vec<String> = cmd("TASK.SHARDS").arg(&queue).arg(SHARDS).query(&mut conn)?;
    let mut account = Account::default();

    fill(&mut conn, &shards, &mut account)?;
    // Only one thread can use a ClusterConnection, so each worker has its own.
    let workers: Vec<RedisResult<_>> = thread::scope(|scope| {
        let start = |home| {
            scope.spawn({
                let (client, shards) = (&client, &shards);
                move || work(client, shards, home)
            })
        };
        let running: Vec<_> = [0, 2, 5].map(start).into();
        running.into_iter().map(|worker| worker.join().expect("a worker panicked")).collect()
    });
    for worker in workers {
        let (extended, done) = worker?;
        account.extended += extended;
        account.done += done;
    }
    // By default, redis-rs sends a command that timed out again 16 times. Moved slots need one or two.
    let waiting = ClusterClient::builder(vec![format!("redis://{address}")]).retries(2).build()?;
    let waited = wait_for_one(&waiting, &mut conn, &shards[0], &mut account)?;
    let errors = meet_errors(&mut conn, &format!("{queue}-errors"))?;

    let pushed: Vec<_> = account.pushed.iter().map(|(shard, n)| format!("{shard:?}:{n}")).collect();
    println!(
        r#"{{"client":"redis-rs","crc16":"{:x}","pushed":{{{}}},"found":{},"done":{},"extended":{},"waited":{waited:?},{errors}}}"#,
        crc16("123456789"),
        pushed.join(","),
        account.found,
        account.done,
        account.extended,
    );
    Ok(())
}

/// Push tasks with groups, tasks with tokens (each twice, and the second one is found), and tasks with neither.
fn fill(conn: &mut ClusterConnection, shards: &[String], account: &mut Account) -> RedisResult<()> {
    let mut send = |payload: String, by: By| -> RedisResult<()> {
        let (shard, new) = push(conn, shards, &payload, by)?;
        *account.pushed.entry(shard.into()).or_default() += usize::from(new);
        account.found += usize::from(!new);
        Ok(())
    };
    for n in 0..4 * GROUPS {
        send(format!("of a group {n}"), By::Group(&format!("customer-{}", n % GROUPS)))?;
    }
    for n in 0..40 {
        send(format!("unique {n}"), By::Unique(&format!("invoice-{}", n % 20)))?;
    }
    (0..112).try_for_each(|n| send(format!("plain {n}"), By::Load))
}

/// Claim tasks from the home shard, then from the others, until all are empty. Returns leases extended and tasks done.
fn work(client: &ClusterClient, shards: &[String], home: usize) -> RedisResult<(usize, usize)> {
    let mut conn = client.get_connection()?;
    let (mut extended, mut done, mut empty) = (0, 0, 0);
    for shard in shards.iter().cycle().skip(home) {
        let tasks = claim(&mut conn, shard, 10, &token())?;
        empty = if tasks.is_empty() { empty + 1 } else { 0 };
        if empty == shards.len() {
            break;
        }
        if !tasks.is_empty() {
            let (kept, finished) = finish(&mut conn, shard, &tasks)?;
            extended += kept;
            done += finished;
        }
    }
    Ok((extended, done))
}

/// Extend all leases with one call, then finish each task by its handle. Returns the number of each.
fn finish(conn: &mut ClusterConnection, shard: &str, tasks: &[Task]) -> RedisResult<(usize, usize)> {
    let handles: Vec<&str> = tasks.iter().map(|(handle, ..)| handle.as_str()).collect();
    // For each handle the new deadline, 0 if the task has ended, -2 for STALE, -3 for CANCELLED.
    let deadlines: Vec<i64> =
        cmd("TASK.EXTEND").arg(shard).arg("HANDLES").arg(handles.len()).arg(&handles).query(conn)?;
    let mut done = 0;
    for handle in handles {
        done += cmd("TASK.ACK").arg(shard).arg(handle).query::<usize>(conn)?;
    }
    Ok((deadlines.iter().filter(|deadline| **deadline > 0).count(), done))
}

/// Wait on an empty shard, on a connection of its own, and push to it. Returns the payload.
fn wait_for_one(
    client: &ClusterClient,
    conn: &mut ClusterConnection,
    shard: &str,
    account: &mut Account,
) -> RedisResult<String> {
    let tasks = thread::scope(|scope| {
        let waiting = scope.spawn(|| wait(client, shard));
        loop {
            let info: HashMap<String, Value> = cmd("TASK.INFO").arg(shard).query(conn)?;
            if info["blocked-workers"] != Value::Int(0) {
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
        cmd("TASK.PUSH").arg(shard).arg("the last").query::<String>(conn)?;
        waiting.join().expect("the worker panicked")
    })?;
    *account.pushed.entry(shard.into()).or_default() += 1;
    let (extended, done) = finish(conn, shard, &tasks)?;
    account.extended += extended;
    account.done += done;
    Ok(tasks[0].1.clone())
}

/// Every error that a worker or a producer must know, on another queue. Returns fields of the account.
fn meet_errors(conn: &mut ClusterConnection, key: &str) -> RedisResult<String> {
    cmd("TASK.CONFIG").arg(key).arg("SET").arg("max-len").arg(1).exec(conn)?;
    cmd("TASK.PUSH").arg(key).arg("one").exec(conn)?;
    let full = said(cmd("TASK.PUSH").arg(key).arg("one too many").query(conn));
    cmd("TASK.PAUSE").arg(key).arg("IN").exec(conn)?;
    let paused = said(cmd("TASK.PUSH").arg(key).arg("two").query(conn));
    cmd("TASK.RESUME").arg(key).arg("IN").exec(conn)?;

    let same = token();
    let first = claim(conn, key, 1, &same)?;
    let again = claim(conn, key, 1, &same)?;
    let resent = if first.len() == 1 && first == again { "the same" } else { "another" };

    let handle = &first[0].0;
    cmd("TASK.REQUEUE").arg(key).arg(handle).exec(conn)?;
    let stale = said(cmd("TASK.EXTEND").arg(key).arg(handle).query(conn));
    let of_many: Vec<i64> = cmd("TASK.EXTEND").arg(key).arg("HANDLES").arg(1).arg(handle).query(conn)?;
    cmd("TASK.PURGE").arg(key).arg("ALL").exec(conn)?;
    Ok(format!(
        r#""full":"{full}","paused":"{paused}","resent":"{resent}","stale":"{stale}","staleOfMany":{}"#,
        of_many[0]
    ))
}

/// The code of the server's error, such as STALE or QFULL.
fn said(reply: RedisResult<Value>) -> String {
    match reply {
        Ok(value) => format!("{value:?}"),
        Err(error) => error.code().unwrap_or("no answer").into(),
    }
}
