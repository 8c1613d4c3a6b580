//! The module's settings: arguments of `loadmodule` on all servers, and `CONFIG SET taskslot.<name>` from 7.0 on.

use taskslot_api::load::LoadError;
use taskslot_api::setting::{self, Setting};
use taskslot_api::{Arg, Context};

/// The longest grace after an outage, in ms: leases that ended during the outage are spared for as long again, but at most this
/// long.
pub static FAILOVER_GRACE: Setting = Setting::number(c"failover-grace", 5000, 0..=60_000);
/// The largest payload of a task, in bytes.
pub static MAX_PAYLOAD: Setting = Setting::memory(c"max-payload", 512 << 20, 1..=512 << 20);
/// Whether ordinary clients can send effects. For tools that replay an AOF into a live server.
pub static ALLOW_EFFECTS: Setting = Setting::yes_no(c"allow-effects", false);

static ALL: &[&Setting] = &[&FAILOVER_GRACE, &MAX_PAYLOAD, &ALLOW_EFFECTS];

/// Reads the arguments of `loadmodule`, which are names and values in turn. Then registers the settings, if the server supports
/// that.
pub fn load(ctx: Context<'_>, args: &[Arg<'_>]) -> Result<(), LoadError> {
    for pair in args.chunks(2) {
        let [name, value] = pair else {
            return Err("the arguments must be names and values of settings, in turn".into());
        };
        let known = ALL.iter().find(|s| s.name.to_bytes().eq_ignore_ascii_case(name.as_bytes()));
        let known = known.ok_or_else(|| format!("there is no setting {name:?}"))?;
        if !known.parse(value.as_bytes()) {
            let (name, kind) = (known.name.to_string_lossy(), &known.kind);
            return Err(format!("{name} must be {kind}").into());
        }
    }
    setting::register(ctx, ALL)
}
