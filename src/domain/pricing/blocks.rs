//! Tiers that sell blocks of units.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::charge::{Charge, ChargeItem};
use super::field::{ONE, PLACES, optional, positive, required, trillionths};
use super::{PriceField, PricingError};
use crate::domain::decimal::Given;
use crate::domain::metering::Exact;

/// One tier of a price by blocks.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct BlockTier {
    /// How many units a block has.
    pub block_size: Decimal,
    /// How many blocks the tier sells, a whole number; `None` for the last tier.
    pub max_blocks: Option<Decimal>,
    /// The price of a block, in major units.
    pub block_amount: Decimal,
}

/// A checked list of block tiers: every quantity from 0 on is in exactly one.
///
/// A tier ends, inclusively, after its blocks and those of the tiers before it. A block that was
/// begun is sold whole, inside its tier.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "BlockTiersFields")]
pub struct BlockTiers {
    tiers: Vec<BlockTier>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BlockTiersFields {
    tiers: Vec<BlockTierFields>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BlockTierFields {
    #[serde(default)]
    block_size: Option<Given>,
    #[serde(default)]
    max_blocks: Option<Given>,
    #[serde(default)]
    block_amount: Option<Given>,
}

impl TryFrom<BlockTiersFields> for BlockTiers {
    type Error = PricingError;

    fn try_from(fields: BlockTiersFields) -> Result<Self, PricingError> {
        let read = |(index, tier): (usize, BlockTierFields)| {
            let field = |name| PriceField::tier(index + 1, name);
            Ok(BlockTier {
                block_size: required(field("block_size"), tier.block_size.as_ref())?,
                max_blocks: optional(field("max_blocks"), tier.max_blocks.as_ref())?,
                block_amount: required(field("block_amount"), tier.block_amount.as_ref())?,
            })
        };
        let tiers = fields.tiers.into_iter().enumerate().map(read);
        Self::new(tiers.collect::<Result<_, PricingError>>()?)
    }
}

/// A tier in trillionths.
struct ExactTier {
    size: i128,
    amount: i128,
    /// The last quantity of the tier.
    up_to: Option<i128>,
}

impl BlockTiers {
    /// Checks the list.
    ///
    /// # Errors
    /// For no tier; a size or a number of blocks that is not positive; blocks that are not whole; a
    /// tier without `max_blocks` that is not the last, and a last one with it; a price that is
    /// negative or has more than 12 decimal places. The error names the tier, counted from 1.
    pub fn new(tiers: Vec<BlockTier>) -> Result<Self, PricingError> {
        let last = tiers.len();
        if last == 0 {
            return Err(PricingError::NoTiers {
                bound: "max_blocks",
            });
        }
        let mut end = 0_i128;
        for (index, tier) in tiers.iter().enumerate() {
            let number = index + 1;
            let field = |name| PriceField::tier(number, name);
            let size = positive(field("block_size"), tier.block_size)?;
            trillionths(field("block_amount"), tier.block_amount)?;
            let Some(max_blocks) = tier.max_blocks else {
                if number < last {
                    return Err(PricingError::OpenTier {
                        tier: number,
                        bound: "max_blocks",
                    });
                }
                continue;
            };
            let blocks = positive(field("max_blocks"), max_blocks)?;
            if blocks % ONE != 0 {
                return Err(PricingError::NotWhole {
                    field: field("max_blocks"),
                    value: max_blocks,
                });
            }
            if number == last {
                return Err(PricingError::ClosedTier {
                    tier: number,
                    bound: "max_blocks",
                    value: max_blocks,
                });
            }
            end = size
                .checked_mul(blocks / ONE)
                .and_then(|units| end.checked_add(units))
                .filter(|end| Exact::from(*end).is_quantity())
                .ok_or(PricingError::BlocksTooMany {
                    tier: number,
                    max_blocks,
                })?;
        }
        Ok(Self { tiers })
    }

    /// The tiers, in order.
    #[must_use]
    pub fn as_slice(&self) -> &[BlockTier] {
        &self.tiers
    }

    fn exact(&self) -> Option<Vec<ExactTier>> {
        let mut end = 0_i128;
        let exact = |tier: &BlockTier| {
            let size = Exact::of(tier.block_size)?.trillionths();
            let up_to = match tier.max_blocks {
                Some(blocks) => {
                    let blocks = Exact::of(blocks)?.trillionths() / ONE;
                    end = end.checked_add(size.checked_mul(blocks)?)?;
                    Some(end)
                }
                None => None,
            };
            Some(ExactTier {
                size,
                amount: Exact::of(tier.block_amount)?.trillionths(),
                up_to,
            })
        };
        self.tiers.iter().map(exact).collect()
    }

    /// Each tier entered prices the blocks that begin in it.
    pub(super) fn graduated(&self, quantity: Decimal) -> Result<Charge, PricingError> {
        let whole = trillionths(PriceField::Plain("quantity"), quantity)?;
        let items = self.exact().and_then(|tiers| {
            let mut items = Vec::new();
            let mut below = 0;
            for (index, tier) in tiers.iter().enumerate() {
                if index > 0 && whole <= below {
                    break;
                }
                let top = tier.up_to.map_or(whole, |up_to| up_to.min(whole));
                let count = blocks(top - below, tier.size)?;
                items.push(ChargeItem::new(index + 1, count, tier.amount, 0)?);
                below = top;
            }
            Some(items)
        });
        Charge::of(quantity, items)
    }

    /// The tier of the whole quantity prices all blocks.
    pub(super) fn volume(&self, quantity: Decimal) -> Result<Charge, PricingError> {
        let whole = trillionths(PriceField::Plain("quantity"), quantity)?;
        let items = self.exact().and_then(|tiers| {
            let holds = |tier: &ExactTier| tier.up_to.is_none_or(|up_to| whole <= up_to);
            let index = tiers.iter().position(holds)?;
            let tier = tiers.get(index)?;
            let count = blocks(whole, tier.size)?;
            Some(vec![ChargeItem::new(index + 1, count, tier.amount, 0)?])
        });
        Charge::of(quantity, items)
    }

    /// The number of the tier that holds the quantity, from 1.
    pub(super) fn tier_of(&self, quantity: Decimal) -> Option<usize> {
        let charge = self.volume(quantity).ok()?;
        charge.items.first().map(|item| item.number)
    }
}

/// How many blocks the units begin; all in trillionths.
fn blocks(units: i128, size: i128) -> Option<i128> {
    let begun = units / size + i128::from(units % size != 0);
    begun.checked_mul(10_i128.pow(PLACES))
}
