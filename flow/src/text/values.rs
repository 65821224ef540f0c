//! Values of fields: numbers, addresses, flags, each with an optional mask.

use std::net::{Ipv4Addr, Ipv6Addr};

/// A value and the bits that count; no value bit outside the mask.
pub(super) type Masked = (u128, u128);

/// Names of the TCP flags from bit 0.
pub(super) const TCP_FLAGS: [&str; 12] =
    ["fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr", "ns", "[200]", "[400]", "[800]"];

/// Fragment words with their value and mask in [`crate::field::Field::IpFrag`].
pub(super) const FRAGMENTS: [(&str, u128, u128); 5] =
    [("no", 0, 3), ("yes", 1, 1), ("first", 1, 3), ("later", 3, 3), ("not_later", 0, 2)];

/// A number: decimal, hexadecimal with 0x, or octal with 0, as in C.
pub(super) fn number(text: &str) -> Option<u128> {
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if text.len() > 1 && text.starts_with('0') => (&text[1..], 8),
        None => (text, 10),
    };
    if !digits.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    u128::from_str_radix(digits, radix).ok()
}

/// A number that fits in `full`.
pub(super) fn number_within(text: &str, full: u128) -> Option<u128> {
    number(text).filter(|value| value & !full == 0)
}

/// `value` or `value/mask`.
pub(super) fn masked_number(text: &str, full: u128) -> Option<Masked> {
    match text.split_once('/') {
        None => Some((number_within(text, full)?, full)),
        Some((value, mask)) => {
            let mask = number_within(mask, full)?;
            Some((number_within(value, full)? & mask, mask))
        }
    }
}

/// `a.b.c.d`, `a.b.c.d/length` or `a.b.c.d/mask`.
pub(super) fn ipv4(text: &str) -> Option<Masked> {
    let (address, mask) = text.split_once('/').unwrap_or((text, "32"));
    let bits = |text: &str| text.parse::<Ipv4Addr>().ok().map(|ip| u128::from(u32::from(ip)));
    let mask = match mask.parse::<u32>() {
        Ok(length @ 0..=32) => 0xffff_ffff << (32 - length) & 0xffff_ffff,
        Ok(_) => return None,
        Err(_) => bits(mask)?,
    };
    Some((bits(address)? & mask, mask))
}

/// An IPv6 address, `/length` or `/mask`.
pub(super) fn ipv6(text: &str) -> Option<Masked> {
    let (address, mask) = text.split_once('/').unwrap_or((text, "128"));
    let bits = |text: &str| text.parse::<Ipv6Addr>().ok().map(u128::from);
    let mask = match mask.parse::<u32>() {
        Ok(0) => 0,
        Ok(length @ 1..=128) => u128::MAX << (128 - length),
        Ok(_) => return None,
        Err(_) => bits(mask)?,
    };
    Some((bits(address)? & mask, mask))
}

/// `aa:bb:cc:dd:ee:ff`, with an optional mask of the same form.
pub(super) fn mac(text: &str) -> Option<Masked> {
    let (address, mask) = text.split_once('/').unwrap_or((text, "ff:ff:ff:ff:ff:ff"));
    let mask = mac_bits(mask)?;
    Some((mac_bits(address)? & mask, mask))
}

fn mac_bits(text: &str) -> Option<u128> {
    let mut bits = 0;
    let mut count = 0;
    for part in text.split(':') {
        if !(1..=2).contains(&part.len()) || !part.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        bits = bits << 8 | u128::from_str_radix(part, 16).ok()?;
        count += 1;
    }
    (count == 6).then_some(bits)
}

/// A fragment word.
pub(super) fn fragment(text: &str) -> Option<Masked> {
    FRAGMENTS.iter().find(|(name, ..)| *name == text).map(|&(_, value, mask)| (value, mask))
}

/// `+syn-ack` (these bits), `syn|ack` (exactly these), or a number with an optional mask.
pub(super) fn tcp_flags(text: &str) -> Option<Masked> {
    if text.starts_with(|first: char| first.is_ascii_digit()) {
        return masked_number(text, 0xfff);
    }
    if !text.starts_with(['+', '-']) {
        return text.split('|').try_fold(0, |bits, name| Some(bits | flag(name)?)).map(exactly);
    }
    let (mut value, mut mask) = (0, 0);
    let mut rest = text;
    while let Some(sign) = rest.chars().next() {
        let end = rest[1..].find(['+', '-']).map_or(rest.len(), |found| found + 1);
        let bit = flag(&rest[1..end])?;
        mask |= bit;
        value = if sign == '+' { value | bit } else { value & !bit };
        rest = &rest[end..];
    }
    Some((value, mask))
}

const fn exactly(bits: u128) -> Masked {
    (bits, 0xfff)
}

fn flag(name: &str) -> Option<u128> {
    TCP_FLAGS.iter().position(|known| *known == name).map(|bit| 1 << bit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_in_c() {
        assert_eq!(number("80"), Some(80));
        assert_eq!(number("0x50"), Some(80));
        assert_eq!(number("010"), Some(8));
        assert_eq!(number("0"), Some(0));
        for bad in ["", "0x", "08", "+5", "-1", "5a", "0x+5"] {
            assert_eq!(number(bad), None, "{bad}");
        }
    }

    #[test]
    fn addresses_that_inet_aton_would_bend_are_refused() {
        for bad in ["1.2.3.400", "1.2.3", "1.2.3.4/33", "1.2.3.4/24/3", "1.2.3.4/0x10", "1"] {
            assert_eq!(ipv4(bad), None, "{bad}");
        }
        assert_eq!(ipv4("10.1.2.3/8"), Some((0x0a00_0000, 0xff00_0000)));
        assert_eq!(ipv4("1.2.3.4/0"), Some((0, 0)));
        assert_eq!(ipv6("2001:db8::1/64"), ipv6("2001:db8::/ffff:ffff:ffff:ffff::"));
    }

    #[test]
    fn tcp_flags_are_exact_without_signs_and_masked_with() {
        assert_eq!(tcp_flags("syn|ack"), Some((0x012, 0xfff)));
        assert_eq!(tcp_flags("+syn-ack"), Some((0x002, 0x012)));
        assert_eq!(tcp_flags("0x12/0x13"), Some((0x012, 0x013)));
        assert_eq!(tcp_flags("0"), Some((0, 0xfff)));
        assert_eq!(tcp_flags("+[200]"), Some((0x200, 0x200)));
        for bad in ["", "+", "+syn+foo", "syn|+ack", "0x1000"] {
            assert_eq!(tcp_flags(bad), None, "{bad}");
        }
    }
}
