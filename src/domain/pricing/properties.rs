//! Laws that every price keeps.

use proptest::prelude::*;
use rust_decimal::Decimal;

use super::*;
use crate::domain::money::{Currency, Rounding};

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 10_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// A number of some size, with up to 12 decimal places and often with fewer.
fn decimals(most: i64) -> impl Strategy<Value = Decimal> {
    (0..=most, 0_u32..=12, 0_u32..=12).prop_map(|(whole, places, fraction)| {
        let fraction = i64::from(fraction) * 76_923_076_923 + whole % 1_000;
        (Decimal::from(whole) + Decimal::new(fraction, 12)).trunc_with_scale(places)
    })
}

fn tiers() -> impl Strategy<Value = Tiers> {
    let tier = (
        1..=1_000_000_000_000_i64,
        5_u32..=12,
        decimals(1_000),
        decimals(100_000),
    );
    prop::collection::vec(tier, 1..6).prop_map(|steps| {
        let mut end = Decimal::ZERO;
        let mut tiers: Vec<_> = steps
            .into_iter()
            .map(|(width, scale, unit, flat)| {
                end += Decimal::new(width, scale);
                Tier::up_to(end, unit).with_flat(flat)
            })
            .collect();
        tiers.last_mut().unwrap().up_to = None;
        Tiers::new(tiers).unwrap()
    })
}

fn blocks() -> impl Strategy<Value = BlockTiers> {
    let tier = (1..=1_000_i64, 0_u32..=2, 1..=100_i64, decimals(1_000));
    prop::collection::vec(tier, 1..5).prop_map(|steps| {
        let mut tiers: Vec<_> = steps
            .into_iter()
            .map(|(size, scale, most, amount)| BlockTier {
                block_size: Decimal::new(size, scale),
                max_blocks: Some(most.into()),
                block_amount: amount,
            })
            .collect();
        tiers.last_mut().unwrap().max_blocks = None;
        BlockTiers::new(tiers).unwrap()
    })
}

fn models() -> impl Strategy<Value = PriceModel> {
    prop_oneof![
        1 => decimals(1_000_000).prop_map(|a| PriceModel::Flat(FlatPrice::new(a).unwrap())),
        1 => decimals(1_000).prop_map(|a| PriceModel::PerUnit(UnitPrice::new(a).unwrap())),
        3 => tiers().prop_map(PriceModel::Graduated),
        3 => tiers().prop_map(PriceModel::Volume),
        1 => (1..=1_000_i64, 0_u32..=1, decimals(1_000), decimals(1_000_000)).prop_map(
            |(size, scale, amount, free)| PriceModel::Package(
                PackagePrice::new(Decimal::new(size, scale), amount).unwrap().with_free_units(free).unwrap()
            )
        ),
        1 => blocks().prop_map(PriceModel::GraduatedBlocks),
        1 => blocks().prop_map(PriceModel::VolumeBlocks),
        1 => (decimals(100), decimals(1_000)).prop_map(|(rate, fixed)| PriceModel::Percentage(
            PercentagePrice::new(rate.round_dp(10)).unwrap().with_fixed_amount(fixed).unwrap()
        )),
        1 => tiers().prop_map(|tiers| PriceModel::GraduatedPercentage(
            PercentTiers::new(tiers.as_slice().iter().map(|tier| PercentTier {
                up_to: tier.up_to,
                rate_percent: tier.unit_amount.round_dp(10),
                flat_amount: tier.flat_amount,
            }).collect()).unwrap()
        )),
        1 => (decimals(1_000_000), decimals(1_000_000)).prop_map(|(included, unit)| {
            PriceModel::Overage(OveragePrice::new(included, unit).unwrap())
        }),
    ]
}

fn modes() -> impl Strategy<Value = Rounding> {
    prop::sample::select(vec![
        Rounding::HalfUp,
        Rounding::HalfEven,
        Rounding::HalfDown,
        Rounding::Up,
        Rounding::Down,
        Rounding::Ceiling,
        Rounding::Floor,
    ])
}

fn currencies() -> impl Strategy<Value = Currency> {
    prop::sample::select(vec![Currency::EUR, Currency::JPY, Currency::KWD])
}

/// A quantity, also one at a bound of the model or just beside it.
fn near(model: &PriceModel, quantity: Decimal, pick: usize, beside: i64) -> Decimal {
    let bounds: Vec<_> = match model {
        PriceModel::Graduated(tiers) | PriceModel::Volume(tiers) => tiers
            .as_slice()
            .iter()
            .filter_map(|tier| tier.up_to)
            .collect(),
        _ => Vec::new(),
    };
    match bounds.get(pick) {
        Some(bound) => *bound + Decimal::new(beside, 12),
        None => quantity,
    }
}

proptest! {
    #![proptest_config(config())]

    /// Every quantity has a price, at a bound and just beside it too, and the prepared form tells
    /// the same one.
    #[test]
    fn there_is_no_hole_and_the_prepared_form_agrees(
        model in models(),
        quantity in decimals(100_000_000),
        (pick, beside) in (0_usize..12, -1_i64..=1),
        currency in currencies(),
        mode in modes(),
    ) {
        let quantity = near(&model, quantity, pick, beside);
        let charge = model.charge(quantity).unwrap();
        let sum = charge.items.iter().try_fold(Default::default(), |sum, item| item.amount.checked_add(sum));
        prop_assert_eq!(sum, Some(charge.amount));
        let rounded = charge.round(currency, mode);
        prop_assert_eq!(model.prepare(currency, mode).unwrap().price(quantity), rounded.clone());
        let items = charge.round_items(currency, mode).unwrap();
        prop_assert_eq!(crate::domain::money::Money::sum(currency, items).unwrap(), rounded.unwrap());
    }

    #[test]
    fn more_never_costs_less_unless_the_model_reprices(
        model in models().prop_filter("models that reprice", |model| !model.reprices()),
        quantity in decimals(100_000_000),
        more in decimals(100_000),
        (pick, beside) in (0_usize..12, -1_i64..=1),
    ) {
        let quantity = near(&model, quantity, pick, beside);
        let (less, more) = (model.charge(quantity).unwrap(), model.charge(quantity + more).unwrap());
        prop_assert!(less.amount <= more.amount, "{} > {}", less.amount, more.amount);
        prop_assert!(less.amount >= Default::default());
    }

    /// The units of the items of graduated tiers are the quantity; of volume tiers too.
    #[test]
    fn no_unit_is_priced_twice_or_not_at_all(tiers in tiers(), quantity in decimals(100_000_000)) {
        for model in [PriceModel::Graduated(tiers.clone()), PriceModel::Volume(tiers.clone())] {
            let charge = model.charge(quantity).unwrap();
            prop_assert_eq!(charge.items.iter().map(|item| item.units).sum::<Decimal>(), quantity);
            prop_assert_eq!(charge.items.last().map(|item| item.number), model.tier_of(quantity));
        }
    }

    /// In whatever parts a document says it, it is the same price.
    #[test]
    fn documents_keep_every_digit(model in models()) {
        let text = serde_json::to_string(&model).unwrap();
        prop_assert_eq!(serde_json::from_str::<PriceModel>(&text).unwrap(), model);
    }
}
