"""taskslot in other frameworks. Each module needs its framework, which the extra of the same name installs."""
