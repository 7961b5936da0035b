//! A rate: so many at once, and then so many in each second, minute, hour or day.

use std::{fmt, str::FromStr};

/// See the module. As text: `60 then 5/s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    burst: u32,
    amount: u32,
    unit: Unit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Second,
    Minute,
    Hour,
    Day,
}

impl Unit {
    const ALL: [(&str, Self, u64); 4] =
        [("s", Self::Second, 1), ("m", Self::Minute, 60), ("h", Self::Hour, 3600), ("d", Self::Day, 86_400)];
}

impl Rate {
    /// So many at once, and then so many each second.
    pub const fn per_second(burst: u32, amount: u32) -> Self {
        Self { burst, amount, unit: Unit::Second }
    }

    /// So many at once, and then so many each minute.
    pub const fn per_minute(burst: u32, amount: u32) -> Self {
        Self { burst, amount, unit: Unit::Minute }
    }

    /// So many at once, and then so many each hour.
    pub const fn per_hour(burst: u32, amount: u32) -> Self {
        Self { burst, amount, unit: Unit::Hour }
    }

    /// How long it takes until so many more are allowed, in nanoseconds.
    pub(crate) fn nanoseconds(self, count: u32) -> u64 {
        let seconds = Unit::ALL.iter().find(|(_, unit, _)| *unit == self.unit).map_or(1, |(_, _, seconds)| *seconds);
        let whole = u128::from(count) * u128::from(seconds) * 1_000_000_000 / u128::from(self.amount.max(1));
        u64::try_from(whole).unwrap_or(u64::MAX)
    }

    /// The same for all that are allowed at once.
    pub(crate) fn depth(self) -> u64 {
        self.nanoseconds(self.burst)
    }

    /// Reads a setting: a rate, or `off` for none.
    pub(crate) fn setting(text: &str) -> Result<Option<Self>, String> {
        if text.trim() == "off" { Ok(None) } else { text.parse().map(Some) }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = Unit::ALL.iter().find(|(_, unit, _)| *unit == self.unit).map_or("s", |(name, _, _)| *name);
        write!(f, "{} then {}/{unit}", self.burst, self.amount)
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (burst, steady) = text.split_once(" then ")?;
            let (amount, unit) = steady.split_once('/')?;
            let number = |text: &str| text.trim().replace('_', "").parse().ok().filter(|number: &u32| *number > 0);
            let unit = Unit::ALL.iter().find(|(name, _, _)| *name == unit.trim()).map(|(_, unit, _)| *unit)?;
            Some(Self { burst: number(burst)?, amount: number(amount)?, unit })
        };
        parse().ok_or_else(|| {
            format!("{text:?} is neither \"off\" nor a limit such as \"60 then 5/s\": so many at once, then so many each s, m, h or d")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_reads_as_it_is_written() {
        for rate in [Rate::per_second(100_000, 1000), Rate::per_hour(60, 7)] {
            assert_eq!(rate.to_string().parse(), Ok(rate));
        }
        let rate: Rate = "1_000 then 2/m".parse().unwrap();
        assert_eq!((rate.depth(), rate.nanoseconds(1)), (500 * 60_000_000_000, 30_000_000_000));
        assert_eq!(Rate::setting("off"), Ok(None));
        for wrong in
            ["", "5", "0 then 5/s", "5 then 0/s", "5 then 5", "5 then 5/w", "-1 then 5/s", "99999999999 then 1/s"]
        {
            assert!(wrong.parse::<Rate>().unwrap_err().contains("60 then 5/s"), "{wrong}");
        }
    }
}
