#![no_main]

taskslot_fuzz::fuzz_by_parts!(taskslot_fuzz::calendar::run);
