//! The presets.

use super::{
    Activity, AugmentationGroup, CONFIG_FORMAT, Config, DecoderConfig, DecoderStyle, EncoderConfig,
    FirstConv, FlattenOrder, HeadConfig, HeadInit, InnerTarget, InputNormalization, LevelConfig,
    ModelConfig, NormConfig, OptimizerKind, PaddingRule, PlateauRule, QuantizerConfig,
    ScheduleConfig, StageConfig, StemConfig, TrainingConfig, Upsampling, VarianceRule,
};
use crate::ModelError;

pub(super) fn by_name(name: &str) -> Result<Config, ModelError> {
    let (model, training) = match name {
        "paper" => (paper(), paper_training()),
        "small" => (small(), small_training()),
        "torch-readme" => (torch_readme(), torch_training(1e-3)),
        "torch-split9" => (torch_split9(), torch_training(1e-3)),
        "torch-tfdec" => (torch_tfdec(), torch_training(4e-4)),
        "torch-micro" => (torch_micro(), torch_training(4e-4)),
        found => {
            return Err(ModelError::UnknownPreset {
                found: found.to_string(),
                known: Config::PRESETS.join(", "),
            });
        }
    };
    Ok(Config {
        format: CONFIG_FORMAT,
        preset: name.to_string(),
        model,
        training,
    })
}

/// expand, kernel, stride, input, output, repeats.
fn stages(rows: &[(usize, usize, usize, usize, usize, usize)]) -> Vec<StageConfig> {
    rows.iter()
        .map(
            |&(expand, kernel, stride, input, output, repeats)| StageConfig {
                expand,
                kernel,
                stride,
                input,
                output,
                repeats,
            },
        )
        .collect()
}

/// The first three stages of EfficientNet-B0, the third with stride 1.
fn encoder1_b0(stochastic_depth: f64) -> EncoderConfig {
    EncoderConfig {
        stem: Some(StemConfig {
            channels: 32,
            stride: 2,
        }),
        stochastic_depth,
        stages: stages(&[
            (1, 3, 1, 32, 16, 1),
            (6, 3, 2, 16, 24, 2),
            (6, 5, 1, 24, 40, 2),
        ]),
    }
}

/// The other four stages of EfficientNet-B0, with the strides 2, 2, 2, 1.
fn encoder2_b0(stem: Option<StemConfig>, stochastic_depth: f64) -> EncoderConfig {
    EncoderConfig {
        stem,
        stochastic_depth,
        stages: stages(&[
            (6, 3, 2, 40, 80, 3),
            (6, 5, 2, 80, 112, 3),
            (6, 5, 2, 112, 192, 4),
            (6, 3, 1, 192, 320, 1),
        ]),
    }
}

/// A quantiser initialised as the PyTorch code does: uniform in plus or minus sqrt(3 / codes).
fn torch_quantizer(codes: usize, dimension: usize, split: usize) -> QuantizerConfig {
    QuantizerConfig {
        enabled: true,
        codes,
        dimension,
        split,
        commitment_cost: 0.25,
        init: (3.0 / codes as f64).sqrt(),
        ema_decay: 0.0,
        revive_after: 0,
    }
}

fn torch_head(activity: Activity) -> HeadConfig {
    HeadConfig {
        activity,
        hidden: None,
        input_dropout: 0.5,
        hidden_dropout: 0.5,
        init: HeadInit::Torch,
    }
}

fn torch_decoder(first: Option<usize>, minimum: usize) -> DecoderConfig {
    DecoderConfig {
        activity: Activity::Train,
        style: DecoderStyle::Resize,
        first: first.map(|channels| FirstConv {
            channels,
            kernel: 3,
        }),
        minimum,
        units: 2,
        bias: false,
        affine: false,
    }
}

fn torch_model(levels: [LevelConfig; 2], input: usize) -> ModelConfig {
    ModelConfig {
        channels: vec!["pro".into(), "nucdist".into()],
        input: [input; 2],
        normalization: InputNormalization::None,
        classes: 0,
        flatten: FlattenOrder::ChannelFirst,
        padding: PaddingRule::Symmetric,
        norm: NormConfig {
            epsilon: 1e-5,
            momentum: 0.1,
        },
        upsampling: Upsampling::Nearest,
        inner_target: InnerTarget::Quantized,
        levels,
    }
}

fn torch_b0_levels(
    quantizers: [QuantizerConfig; 2],
    heads: [Activity; 2],
    decoder: DecoderConfig,
) -> [LevelConfig; 2] {
    let [quantizer1, quantizer2] = quantizers;
    let stem = Some(StemConfig {
        channels: 40,
        stride: 1,
    });
    [
        LevelConfig {
            encoder: encoder1_b0(0.2),
            quantizer: quantizer1,
            head: torch_head(heads[0]),
            decoder: decoder.clone(),
        },
        LevelConfig {
            encoder: encoder2_b0(stem, 0.2),
            quantizer: quantizer2,
            head: torch_head(heads[1]),
            decoder,
        },
    ]
}

/// The README of the PyTorch code: 512 codes, no split, only head 2 trained.
fn torch_readme() -> ModelConfig {
    let quantizer = torch_quantizer(512, 64, 1);
    torch_model(
        torch_b0_levels(
            [quantizer.clone(), quantizer],
            [Activity::Idle, Activity::Train],
            torch_decoder(None, 1),
        ),
        100,
    )
}

/// The PyTorch code with the paper's quantisers.
fn torch_split9() -> ModelConfig {
    let quantizers = [torch_quantizer(2048, 64, 1), torch_quantizer(2048, 64, 9)];
    torch_model(
        torch_b0_levels(quantizers, [Activity::Train; 2], torch_decoder(None, 1)),
        100,
    )
}

/// As `torch-split9`, with decoders about as narrow as the TensorFlow code's.
fn torch_tfdec() -> ModelConfig {
    let quantizers = [torch_quantizer(2048, 64, 1), torch_quantizer(2048, 64, 9)];
    torch_model(
        torch_b0_levels(
            quantizers,
            [Activity::Train; 2],
            torch_decoder(Some(64), 32),
        ),
        100,
    )
}

/// A net of the same construction, small enough for every test run.
fn torch_micro() -> ModelConfig {
    let level1 = LevelConfig {
        encoder: EncoderConfig {
            stem: Some(StemConfig {
                channels: 32,
                stride: 2,
            }),
            stochastic_depth: 0.2,
            stages: stages(&[(1, 3, 1, 32, 16, 1), (6, 3, 2, 16, 24, 2)]),
        },
        quantizer: torch_quantizer(32, 8, 1),
        head: torch_head(Activity::Train),
        decoder: torch_decoder(None, 1),
    };
    let level2 = LevelConfig {
        encoder: EncoderConfig {
            stem: Some(StemConfig {
                channels: 24,
                stride: 1,
            }),
            stochastic_depth: 0.2,
            stages: stages(&[(6, 5, 2, 24, 40, 2), (6, 3, 2, 40, 48, 1)]),
        },
        quantizer: torch_quantizer(32, 8, 3),
        head: torch_head(Activity::Train),
        decoder: torch_decoder(None, 1),
    };
    torch_model([level1, level2], 40)
}

/// The TensorFlow code, which the paper trained.
fn paper() -> ModelConfig {
    let head = HeadConfig {
        activity: Activity::Train,
        hidden: Some(1000),
        input_dropout: 0.0,
        hidden_dropout: 0.5,
        init: HeadInit::Glorot,
    };
    let decoder = DecoderConfig {
        activity: Activity::Train,
        style: DecoderStyle::Double,
        first: Some(FirstConv {
            channels: 64,
            kernel: 3,
        }),
        minimum: 32,
        units: 2,
        bias: true,
        affine: true,
    };
    // Keras' "uniform" initialiser.
    let quantizer = |split| QuantizerConfig {
        init: 0.05,
        ..torch_quantizer(2048, 64, split)
    };
    ModelConfig {
        flatten: FlattenOrder::ChannelLast,
        padding: PaddingRule::Tensorflow,
        norm: NormConfig {
            epsilon: 1e-3,
            momentum: 0.01,
        },
        upsampling: Upsampling::BilinearLegacy,
        inner_target: InnerTarget::Encoder,
        ..torch_model(
            [
                LevelConfig {
                    encoder: encoder1_b0(0.0),
                    quantizer: quantizer(1),
                    head: head.clone(),
                    decoder: decoder.clone(),
                },
                LevelConfig {
                    encoder: encoder2_b0(None, 0.0),
                    quantizer: quantizer(9),
                    head,
                    decoder,
                },
            ],
            100,
        )
    }
}

/// A twentieth of the paper's work with its structure kept: split encoders, both quantisers, both heads, both decoders.
fn small() -> ModelConfig {
    let decoder = |channels, minimum| DecoderConfig {
        first: Some(FirstConv {
            channels,
            kernel: 1,
        }),
        units: 1,
        affine: true,
        ..torch_decoder(None, minimum)
    };
    // The paper's head, narrower: one linear layer on all positions learns small data by heart.
    let head = HeadConfig {
        activity: Activity::Train,
        hidden: Some(128),
        input_dropout: 0.5,
        hidden_dropout: 0.5,
        init: HeadInit::Glorot,
    };
    let quantizer = |codes, split| QuantizerConfig {
        revive_after: 50,
        ..torch_quantizer(codes, 16, split)
    };
    torch_model(
        [
            LevelConfig {
                encoder: EncoderConfig {
                    stem: Some(StemConfig {
                        channels: 16,
                        stride: 2,
                    }),
                    stochastic_depth: 0.0,
                    stages: stages(&[
                        (1, 3, 1, 16, 8, 1),
                        (4, 3, 2, 8, 16, 1),
                        (4, 5, 1, 16, 24, 1),
                    ]),
                },
                quantizer: quantizer(256, 1),
                head: head.clone(),
                decoder: decoder(16, 8),
            },
            LevelConfig {
                encoder: EncoderConfig {
                    stem: Some(StemConfig {
                        channels: 24,
                        stride: 1,
                    }),
                    stochastic_depth: 0.0,
                    stages: stages(&[
                        (4, 3, 2, 24, 40, 2),
                        (4, 5, 2, 40, 56, 2),
                        (4, 5, 2, 56, 96, 2),
                    ]),
                },
                quantizer: quantizer(512, 9),
                head,
                decoder: decoder(32, 16),
            },
        ],
        100,
    )
}

/// The paper: Adam 4e-4, x0.1 after 4 epochs without progress, stop after 12; Keras' constants.
fn paper_training() -> TrainingConfig {
    TrainingConfig {
        seed: 42,
        epochs: 100,
        batch: 32,
        accumulate: 1,
        optimizer: OptimizerKind::Adam,
        learning_rate: 4e-4,
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-7,
        weight_decay: 0.0,
        identification_weight: 1.0,
        quantizer_weight: 1.0,
        augmentation: AugmentationGroup::Dihedral,
        augment_validation: false,
        variance: VarianceRule::Training,
        checkpoint_batches: 0,
        sync_batch_norm: false,
        schedule: ScheduleConfig {
            rule: PlateauRule::Paper,
            factor: 0.1,
            patience: 4,
            min_delta: 1e-4,
            min_learning_rate: 1e-8,
            stop_patience: 12,
            ignore_first: 2,
            warmup_steps: 0,
        },
    }
}

/// The PyTorch code: AdamW, its plateau counter, each split's own variance; without its augmentation of validation.
fn torch_training(learning_rate: f64) -> TrainingConfig {
    let paper = paper_training();
    TrainingConfig {
        optimizer: OptimizerKind::Adamw,
        learning_rate,
        epsilon: 1e-8,
        weight_decay: 0.01,
        augmentation: AugmentationGroup::TorchSubset,
        variance: VarianceRule::Split,
        schedule: ScheduleConfig {
            rule: PlateauRule::Torch,
            min_delta: 0.0,
            ignore_first: 0,
            ..paper.schedule
        },
        ..paper
    }
}

fn small_training() -> TrainingConfig {
    TrainingConfig {
        epochs: 30,
        batch: 16,
        learning_rate: 1e-3,
        ..paper_training()
    }
}
