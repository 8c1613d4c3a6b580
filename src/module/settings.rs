//! The module's own settings: arguments of `loadmodule` everywhere, `CONFIG SET taskslot.<name>` from 7.0 on.

use taskslot_api::load::LoadError;
use taskslot_api::setting::{self, Setting};
use taskslot_api::{Arg, Context};

/// The longest time, in ms, for which deadlines that passed while nobody could be heard are held back.
pub static FAILOVER_GRACE: Setting = Setting::number(c"failover-grace", 5000, 0..=60_000);
/// The most bytes of one payload.
pub static MAX_PAYLOAD: Setting = Setting::memory(c"max-payload", 512 << 20, 1..=512 << 20);
/// Whether ordinary clients may send effects: for tools that replay an AOF into a live server.
pub static ALLOW_EFFECTS: Setting = Setting::yes_no(c"allow-effects", false);

static ALL: &[&Setting] = &[&FAILOVER_GRACE, &MAX_PAYLOAD, &ALLOW_EFFECTS];

/// Takes the arguments of `loadmodule`, names and values in turn, then registers the settings where the server has
/// them.
pub fn load(ctx: Context<'_>, args: &[Arg<'_>]) -> Result<(), LoadError> {
    for pair in args.chunks(2) {
        let [name, value] = pair else {
            return Err("the arguments are names and values of settings, in turn".into());
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
