//! The business rule: a function of its arguments, tested natively by `cargo test`.

/// From here on a person decides, unless the configuration says otherwise.
pub const LIMIT_CENTS: i64 = 100_000;

/// What becomes of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Says {
    Allow,
    Hold,
    Deny,
}

impl Says {
    pub fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Hold => "hold",
            Self::Deny => "deny",
        }
    }
}

pub fn judge(amount_cents: i64, limit_cents: i64) -> Says {
    match amount_cents {
        ..=0 => Says::Deny,
        amount if amount < limit_cents => Says::Allow,
        _ => Says::Hold,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_orders_are_for_people_and_empty_ones_for_nobody() {
        for (amount, says) in [(-1, Says::Deny), (0, Says::Deny), (1, Says::Allow), (99_999, Says::Allow), (100_000, Says::Hold)] {
            assert_eq!(judge(amount, LIMIT_CENTS), says, "{amount}");
        }
    }
}
