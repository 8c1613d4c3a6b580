//! The module's settings. From 7.0 on, `CONFIG GET` and `CONFIG SET` have them as `<module>.<name>`. On all servers they can be
//! given as arguments of `loadmodule`, which is the only way on Redis 6.2.
//!
//! A setting is a `static`, and reading it takes one load.

use std::ffi::{CStr, c_char, c_int, c_longlong, c_void};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use super::context::Context;
use super::guard::guard;
use super::load::LoadError;
use super::raw::{self, RedisModuleString, optional};

/// The flag of a setting whose value can have the units `kb`, `mb` and `gb`.
const MEMORY: u32 = raw::REDISMODULE_CONFIG_MEMORY;

/// The values that a setting can have.
#[derive(Clone, Debug)]
pub enum SettingKind {
    /// An integer within these bounds.
    Number(RangeInclusive<i64>),
    /// A number of bytes within these bounds.
    Memory(RangeInclusive<i64>),
    /// `yes` or `no`.
    YesNo,
}

impl std::fmt::Display for SettingKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SettingKind::Number(between) | SettingKind::Memory(between) => {
                write!(f, "between {} and {}", between.start(), between.end())
            }
            SettingKind::YesNo => f.write_str("yes or no"),
        }
    }
}

/// A setting of the module.
pub struct Setting {
    /// The name, without the module's name in front.
    pub name: &'static CStr,
    /// The values that it can have.
    pub kind: SettingKind,
    value: AtomicI64,
}

impl Setting {
    /// An integer setting.
    pub const fn number(name: &'static CStr, default: i64, between: RangeInclusive<i64>) -> Setting {
        Setting { name, kind: SettingKind::Number(between), value: AtomicI64::new(default) }
    }

    /// A setting in bytes.
    pub const fn memory(name: &'static CStr, default: i64, between: RangeInclusive<i64>) -> Setting {
        Setting { name, kind: SettingKind::Memory(between), value: AtomicI64::new(default) }
    }

    /// A setting that is yes or no.
    pub const fn yes_no(name: &'static CStr, default: bool) -> Setting {
        Setting { name, kind: SettingKind::YesNo, value: AtomicI64::new(default as i64) }
    }

    /// The value; yes is 1 and no is 0.
    #[inline]
    pub fn get(&self) -> i64 {
        self.value.load(Relaxed)
    }

    /// Whether the value is yes.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.get() != 0
    }

    /// Sets the value from an argument of `loadmodule`: a number, a number of bytes with an optional unit, or yes or no. Returns
    /// false if the text is not a valid value.
    pub fn parse(&self, text: &[u8]) -> bool {
        let number = |text: &[u8]| std::str::from_utf8(text).ok().and_then(|text| text.parse::<i64>().ok());
        let value = match &self.kind {
            SettingKind::Number(between) => number(text).filter(|number| between.contains(number)),
            SettingKind::Memory(between) => {
                let text = text.to_ascii_lowercase();
                let units = [(&b"kb"[..], 10), (b"mb", 20), (b"gb", 30)];
                let unit = units.iter().find_map(|(unit, bits)| Some((text.strip_suffix(*unit)?, *bits)));
                let (digits, bits) = unit.unwrap_or((&text, 0));
                let bytes = number(digits).and_then(|number| number.checked_mul(1 << bits));
                bytes.filter(|bytes| between.contains(bytes))
            }
            SettingKind::YesNo if text.eq_ignore_ascii_case(b"yes") => Some(1),
            SettingKind::YesNo if text.eq_ignore_ascii_case(b"no") => Some(0),
            SettingKind::YesNo => None,
        };
        if let Some(value) = value {
            self.value.store(value, Relaxed);
        }
        value.is_some()
    }
}

/// Registers all settings, and reads their values from the configuration file. The values from the arguments of `loadmodule`
/// are the defaults of those that the file doesn't have. Called once, while the module is loaded. Does nothing on 6.2.
pub fn register(ctx: Context<'_>, settings: &'static [&'static Setting]) -> Result<(), LoadError> {
    let (Some(number), Some(yes_no), Some(load)) = (
        optional!(RedisModule_RegisterNumericConfig),
        optional!(RedisModule_RegisterBoolConfig),
        optional!(RedisModule_LoadConfigs),
    ) else {
        return Ok(());
    };
    for setting in settings {
        let privdata = ptr_of(setting);
        let (flags, range) = match &setting.kind {
            SettingKind::Number(range) => (0, range.clone()),
            SettingKind::Memory(range) => (MEMORY, range.clone()),
            SettingKind::YesNo => (0, 0..=1),
        };
        // SAFETY: OnLoad's context knows the module; the server copies the name, hands the setting, which is static, back to
        // functions of the right signatures, and refuses a default outside the bounds.
        let status = unsafe {
            match setting.kind {
                SettingKind::YesNo => yes_no(
                    ctx.raw(),
                    setting.name.as_ptr(),
                    c_int::from(setting.is_on()),
                    flags,
                    Some(get_yes_no),
                    Some(set_yes_no),
                    None,
                    privdata,
                ),
                _ => number(
                    ctx.raw(),
                    setting.name.as_ptr(),
                    setting.get(),
                    flags,
                    *range.start(),
                    *range.end(),
                    Some(get_number),
                    Some(set_number),
                    None,
                    privdata,
                ),
            }
        };
        if status != raw::OK {
            return Err(format!("the server refused the setting {:?}", setting.name).into());
        }
    }
    // SAFETY: OnLoad's context knows the module; the server calls the functions registered above.
    match unsafe { load(ctx.raw()) } {
        raw::OK => Ok(()),
        _ => Err("a setting of the module in the configuration file is not valid".into()),
    }
}

fn ptr_of(setting: &'static Setting) -> *mut c_void {
    std::ptr::from_ref(setting).cast_mut().cast()
}

/// # Safety
/// The pointer is from [`ptr_of`].
unsafe fn setting(privdata: *mut c_void) -> Option<&'static Setting> {
    // SAFETY: the caller's promise: it points to a static, which is never borrowed exclusively.
    unsafe { privdata.cast::<Setting>().cast_const().as_ref() }
}

unsafe extern "C" fn get_number(_: *const c_char, privdata: *mut c_void) -> c_longlong {
    // SAFETY: the server hands back what was registered with this function: a pointer from `ptr_of`.
    guard("a setting", 0, || unsafe { setting(privdata) }.map_or(0, Setting::get))
}

unsafe extern "C" fn set_number(
    _: *const c_char,
    value: c_longlong,
    privdata: *mut c_void,
    _: *mut *mut RedisModuleString,
) -> c_int {
    guard("a setting", raw::ERR, || {
        // SAFETY: the server hands back what was registered with this function, a pointer from `ptr_of`; it has checked the
        // bounds.
        if let Some(setting) = unsafe { setting(privdata) } {
            setting.value.store(value, Relaxed);
        }
        raw::OK
    })
}

unsafe extern "C" fn get_yes_no(_: *const c_char, privdata: *mut c_void) -> c_int {
    // SAFETY: the server hands back what was registered with this function: a pointer from `ptr_of`.
    guard("a setting", 0, || c_int::from(unsafe { setting(privdata) }.is_some_and(Setting::is_on)))
}

unsafe extern "C" fn set_yes_no(
    name: *const c_char,
    value: c_int,
    privdata: *mut c_void,
    error: *mut *mut RedisModuleString,
) -> c_int {
    // SAFETY: both are callbacks of one kind, so the server's guarantees for this one hold for the other.
    unsafe { set_number(name, c_longlong::from(value != 0), privdata, error) }
}
