//! Which instructions the packet path is compiled for: chosen once, by what the processor has.

use std::fmt;
use std::str::FromStr;

/// A set of instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// What every processor has; the reference.
    Scalar,
    /// AVX2, BMI (x86-64-v3) and AES.
    Avx2,
    /// AVX-512 (x86-64-v4) with byte permutations and vectors of AES, as of Ice Lake and Zen 4.
    Avx512,
}

impl Kernel {
    /// All, slowest first.
    pub const ALL: [Self; 3] = [Self::Scalar, Self::Avx2, Self::Avx512];

    /// The fastest one that this processor has.
    #[must_use]
    pub fn best() -> Self {
        let has = |kernel: &Self| kernel.is_here();
        Self::ALL.into_iter().rev().find(has).unwrap_or(Self::Scalar)
    }

    /// Whether this processor has its instructions.
    #[must_use]
    pub fn is_here(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        {
            let v3 = || {
                is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("bmi1")
                    && is_x86_feature_detected!("bmi2")
                    && is_x86_feature_detected!("lzcnt")
                    && is_x86_feature_detected!("aes")
            };
            match self {
                Self::Scalar => true,
                Self::Avx2 => v3(),
                Self::Avx512 => {
                    v3() && is_x86_feature_detected!("avx512f")
                        && is_x86_feature_detected!("avx512bw")
                        && is_x86_feature_detected!("avx512dq")
                        && is_x86_feature_detected!("avx512vl")
                        && is_x86_feature_detected!("avx512vbmi")
                        && is_x86_feature_detected!("vaes")
                }
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            self == Self::Scalar
        }
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scalar => "scalar",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        })
    }
}

/// Not the name of a kernel.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KernelError {
    /// No such kernel.
    #[error("no kernel is called {0:?}; there are auto, scalar, avx2 and avx512")]
    Unknown(String),
    /// The processor lacks its instructions.
    #[error("this processor lacks the instructions of the kernel {0}")]
    Missing(Kernel),
}

impl FromStr for Kernel {
    type Err = KernelError;

    fn from_str(text: &str) -> Result<Self, KernelError> {
        if text == "auto" {
            return Ok(Self::best());
        }
        let named = Self::ALL.into_iter().find(|kernel| kernel.to_string() == text);
        let kernel = named.ok_or_else(|| KernelError::Unknown(text.to_owned()))?;
        if kernel.is_here() { Ok(kernel) } else { Err(KernelError::Missing(kernel)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_is_found_by_its_name_or_is_missing() {
        for kernel in Kernel::ALL {
            let found = kernel.to_string().parse();
            assert!(found == Ok(kernel) || found == Err(KernelError::Missing(kernel)));
        }
        assert!(Kernel::best().is_here());
        assert_eq!("auto".parse(), Ok(Kernel::best()));
        assert!("sse9".parse::<Kernel>().is_err());
    }
}
