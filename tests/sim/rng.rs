//! Random numbers that are the same everywhere: SplitMix64 and what is drawn from it.

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub(crate) struct Rng {
    state: u64,
}

impl Rng {
    /// One of the streams of a seed.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        Self {
            state: hash3(seed, stream, 77, 99),
        }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN);
        mix64(self.state)
    }

    /// Uniform in [0, 1).
    pub(crate) fn unit(&mut self) -> f64 {
        unit(self.next())
    }

    /// Exponential.
    pub(crate) fn exp(&mut self, mean: f64) -> f64 {
        -(1.0 - self.unit()).ln() * mean
    }

    /// Log-normal.
    pub(crate) fn logn(&mut self, median: f64, sigma: f64) -> f64 {
        let (a, b) = (self.unit(), self.unit());
        median * (sigma * normal(a, b)).exp()
    }

    /// One of `n`.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.unit() * n as f64) as usize
    }
}

/// Box and Muller's normal number from two uniform ones.
fn normal(a: f64, b: f64) -> f64 {
    (-2.0 * (1.0 - a).ln()).sqrt() * (2.0 * std::f64::consts::PI * b).cos()
}

/// A normal number that belongs to three numbers.
pub(crate) fn normal_of(seed: u64, a: u64, b: u64, c: u64) -> f64 {
    let hash = hash3(seed, a, b, c);
    normal(unit(hash), unit(mix64(hash)))
}

pub(crate) fn hash3(seed: u64, a: u64, b: u64, c: u64) -> u64 {
    let mixed_in =
        |h: u64, x: u64, add: u64, factor: u64| mix64(h ^ x.wrapping_add(add).wrapping_mul(factor));
    let h = mix64(seed.wrapping_add(GOLDEN));
    let h = mixed_in(h, a, GOLDEN, 0xD6E8_FEB8_6659_FD93);
    let h = mixed_in(h, b, 0x7F4A_7C15, 0xA076_1D64_78BD_642F);
    mixed_in(h, c, 0x0123_4567, 0xE703_7ED1_A0B4_28DB)
}

fn mix64(mut z: u64) -> u64 {
    z ^= z >> 30;
    z = z.wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z ^= z >> 27;
    z = z.wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn unit(hash: u64) -> f64 {
    (hash >> 11) as f64 / (1_u64 << 53) as f64
}

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

#[test]
fn random_numbers_are_those_of_the_reference() {
    assert_eq!(mix64(1), 0x5692_161d_100b_05e5);
    assert_eq!(hash3(1, 2, 3, 4), 0xcf58_3f24_e0f2_a1e2);
    let mut rng = Rng::new(1, 2);
    assert_eq!(rng.next(), 0x9468_b7cc_a3c2_1bfd);
    let near = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-11, "{found}");
    near(rng.unit(), 0.587616214553);
    near(rng.exp(10.0), 12.835138680474);
    let (a, b) = (rng.unit(), rng.unit());
    near(normal(a, b), -0.108184716538);
    near(rng.logn(4.0, 0.6), 3.014508994851);
}
