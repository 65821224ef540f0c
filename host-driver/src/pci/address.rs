//! The address of a PCI function: domain, bus, device, function (`0000:03:00.0`).

use std::fmt;
use std::str::FromStr;

/// Bits of the device number.
const DEVICE_MAX: u8 = 31;
/// Bits of the function number.
const FUNCTION_MAX: u8 = 7;

/// Address of a PCI function, as `lspci -D` writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// Domain (segment); virtual ones have more than 16 bits.
    domain: u32,
    bus: u8,
    device: u8,
    function: u8,
}

/// A text is not a PCI address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no pci address; expected one such as 0000:03:00.0 or 03:00.0")]
pub struct AddressError {
    /// What was given.
    pub text: String,
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        parse(text).ok_or_else(|| AddressError { text: text.to_owned() })
    }
}

/// Reads `[DOMAIN:]BUS:DEVICE.FUNCTION`, hexadecimal; without a domain it is 0.
fn parse(text: &str) -> Option<Address> {
    let (front, function) = text.rsplit_once('.')?;
    let (front, device) = front.rsplit_once(':')?;
    let (domain, bus) = front.rsplit_once(':').unwrap_or(("0", front));
    let address = Address {
        domain: digits(domain, 8)?,
        bus: u8::try_from(digits(bus, 2)?).ok()?,
        device: u8::try_from(digits(device, 2)?).ok()?,
        function: u8::try_from(digits(function, 1)?).ok()?,
    };
    (address.device <= DEVICE_MAX && address.function <= FUNCTION_MAX).then_some(address)
}

/// A hexadecimal number of at most `length_max` digits; signs are none.
fn digits(text: &str, length_max: usize) -> Option<u32> {
    let plain = text.len() <= length_max && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    plain.then(|| u32::from_str_radix(text, 16).ok()).flatten()
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { domain, bus, device, function } = self;
        write!(f, "{domain:04x}:{bus:02x}:{device:02x}.{function}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses_are_read_with_and_without_a_domain() {
        for (text, printed) in [
            ("0000:03:00.0", "0000:03:00.0"),
            ("3:0.1", "0000:03:00.1"),
            ("ff:1f.7", "0000:ff:1f.7"),
            ("10000:e1:00.0", "10000:e1:00.0"),
            ("0000:AB:0c.2", "0000:ab:0c.2"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), printed);
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in
            ["", "03", "03:00", "03:20.0", "03:00.8", "100:00:00:00.0", "+3:00.0", "g:00.0", ":.0"]
        {
            let error = text.parse::<Address>().unwrap_err();
            assert_eq!(error.text, text);
        }
    }

    proptest! {
        #[test]
        fn what_prints_also_parses(domain: u32, bus: u8, device in 0..=31u8, function in 0..=7u8) {
            let address = Address { domain, bus, device, function };
            prop_assert_eq!(address.to_string().parse(), Ok(address));
        }
    }
}
