//! Numbers, rates, durations and MAC addresses as the generator's parameters write them.

use twinpath_flow::port::Mac;

use super::super::parameters::Parameters;
use super::super::spec::WireSpecError;

/// Most packets a second: one every nanosecond.
const RATE_MAX: u64 = 1_000_000_000;

/// A number, decimal or `0x…`; `_` may separate digits.
pub(super) fn read_number(text: &str) -> Option<u64> {
    let text = text.replace('_', "");
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// `250k`, `1M`, `2.5Mpps`: packets a second.
pub(super) fn read_rate(text: &str) -> Option<u64> {
    let text = text.strip_suffix("pps").unwrap_or(text);
    let (digits, unit) = match text.chars().last()? {
        'k' => (&text[..text.len() - 1], 1_000),
        'M' => (&text[..text.len() - 1], 1_000_000),
        'G' => (&text[..text.len() - 1], 1_000_000_000),
        _ => (text, 1),
    };
    scaled(digits, unit).filter(|rate| (1..=RATE_MAX).contains(rate))
}

/// `10ms`, `2s`, `1.5s`: nanoseconds.
pub(super) fn read_duration_ns(text: &str) -> Option<u64> {
    let units = [("ns", 1), ("us", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000)];
    let (digits, unit) = units
        .iter()
        .find_map(|(name, unit)| text.strip_suffix(name).map(|digits| (digits, *unit)))?;
    scaled(digits, unit)
}

/// A decimal number with at most nine digits behind the point, times `unit`, rounded down.
fn scaled(digits: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || fraction.len() > 9 || !plain(whole) || !plain(fraction) {
        return None;
    }
    let parts: u64 = format!("{fraction:0<9}").parse().ok()?;
    let whole: u64 = whole.parse().ok()?;
    let total =
        u128::from(whole) * u128::from(unit) + u128::from(parts) * u128::from(unit) / 1_000_000_000;
    u64::try_from(total).ok()
}

/// `02:00:00:00:00:01`.
pub(super) fn read_mac(text: &str) -> Option<Mac> {
    let mut mac = Mac::default();
    let mut parts = text.split(':');
    for byte in &mut mac {
        let part = parts.next().filter(|part| part.len() == 2)?;
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(mac)
}

/// Packets after which the stream ends: the smaller of `count` and `duration` at `rate`.
pub(super) fn read_count(p: &Parameters<'_>, rate: u64) -> Result<u64, WireSpecError> {
    let count = p.read("count", "a number of packets", u64::MAX, read_number)?;
    let duration = p.read("duration", "a time such as 500ms or 10s", u64::MAX, read_duration_ns)?;
    if duration == u64::MAX {
        return Ok(count);
    }
    let packets = u128::from(duration) * u128::from(rate) / 1_000_000_000;
    Ok(count.min(u64::try_from(packets).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_in_the_units_people_write() {
        assert_eq!(read_rate("250kpps"), Some(250_000));
        assert_eq!(read_rate("2.5M"), Some(2_500_000));
        assert_eq!(read_rate("2G"), None);
        assert_eq!(read_duration_ns("1.5ms"), Some(1_500_000));
        assert_eq!(read_duration_ns("2s"), Some(2_000_000_000));
        assert_eq!(read_duration_ns("2"), None);
        assert_eq!(read_duration_ns("-2s"), None);
        assert_eq!(read_number("0x1f"), Some(31));
        assert_eq!(read_number("1_000"), Some(1_000));
        assert_eq!(read_mac("02:00:00:00:00:0a"), Some([2, 0, 0, 0, 0, 10]));
        assert_eq!(read_mac("02:00:00:00:00"), None);
    }
}
