//! Reverse-mode differentiation of this crate's operations.
//!
//! candle's `Tensor::backward` starts every gradient as a tensor of zeros and makes a new tensor for each sum, which costs a
//! training step of a convolutional net a quarter of its time. On a [`Tape`] the first gradient of a tensor is taken as it is, and
//! an activation is released as soon as its operation has been passed.
//!
//! Inside [`record`] the operations of [`crate::ops`] write themselves to the tape of the thread; outside they belong to candle's
//! graph, and `Tensor::backward` works as everywhere.

mod memory;

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use candle_core::backprop::GradStore;
use candle_core::{CustomOp1, CustomOp2, CustomOp3, Result, Tensor, TensorId, bail};

use super::elementwise::sum;

/// Gradients into the inputs of an operation for those of its outputs.
type Back = Box<dyn FnOnce(&[Option<Tensor>]) -> Result<Vec<Option<Tensor>>>>;

struct Step {
    inputs: Vec<Tensor>,
    outputs: Vec<Output>,
    back: Back,
}

/// What an operation made; the tape need not keep it alive.
struct Output {
    id: TensorId,
    place: usize,
    bytes: usize,
    /// Whether `back` holds it.
    kept: bool,
}

impl Output {
    fn new(t: &Tensor, kept: bool) -> Self {
        let (place, bytes) = memory::storage(t);
        Self {
            id: t.id(),
            place,
            bytes,
            kept,
        }
    }
}

/// What this thread records, and which tensors gradients are wanted for.
#[derive(Default)]
struct State {
    steps: Option<Vec<Step>>,
    tracked: HashSet<TensorId>,
}

thread_local! {
    static STATE: RefCell<State> = RefCell::new(State::default());
}

/// The operations of a forward pass in order, ready for one backward pass.
///
/// # Example
/// ```
/// use candle_core::{Device, Tensor, Var};
/// use cytoself_model::ops;
///
/// let w = Var::from_slice(&[2f32, 3.], 2, &Device::Cpu)?;
/// let target = Tensor::zeros(2, candle_core::DType::F32, &Device::Cpu)?;
/// let (loss, tape) = ops::record(|| ops::mse(&w, &target))?;
/// let gradients = tape.backward(&loss)?;
/// assert_eq!(gradients.get(&w).unwrap().to_vec1::<f32>()?, [2., 3.]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub struct Tape {
    steps: Vec<Step>,
    tracked: HashSet<TensorId>,
}

/// Forgets the thread's recording however the recorded function ends.
struct Guard;

impl Drop for Guard {
    fn drop(&mut self) {
        STATE.take();
    }
}

/// Runs `f` with this crate's operations on a tape. What candle's own operations compute inside `f` is not on it.
///
/// # Errors
/// - `f` fails;
/// - this thread is recording already.
pub fn record<T, E: From<candle_core::Error>>(
    f: impl FnOnce() -> std::result::Result<T, E>,
) -> std::result::Result<(T, Tape), E> {
    if recording() {
        return Err(candle_core::Error::Msg("this thread records a tape already".into()).into());
    }
    STATE.set(State {
        steps: Some(Vec::new()),
        tracked: HashSet::new(),
    });
    let guard = Guard;
    let value = f()?;
    let State { steps, tracked } = STATE.take();
    drop(guard);
    let steps = steps.unwrap_or_default();
    Ok((value, Tape { steps, tracked }))
}

impl Tape {
    /// Gradients of a scalar into the variables.
    ///
    /// # Errors
    /// - `loss` is no scalar, or was not computed on this tape;
    /// - an operation's gradient fails.
    pub fn backward(self, loss: &Tensor) -> Result<GradStore> {
        let mut store = empty_store(loss)?;
        self.backward_each(loss, &mut |variable, gradient| {
            store.insert(variable, gradient);
            Ok::<(), candle_core::Error>(())
        })?;
        Ok(store)
    }

    /// As [`Tape::backward`], with every gradient given to `finished` as soon as nothing is added to it any more, while the pass
    /// goes on: in the order of [`Tape::variables`].
    ///
    /// # Errors
    /// - as [`Tape::backward`];
    /// - `finished` fails.
    pub(crate) fn backward_each<E: From<candle_core::Error>>(
        self,
        loss: &Tensor,
        finished: &mut dyn FnMut(&Tensor, Tensor) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let first_uses = self.first_uses();
        let Self { steps, tracked } = self;
        if loss.elem_count() != 1 || !tracked.contains(&loss.id()) {
            let text = "backward: a scalar that was computed on this tape was expected";
            return Err(candle_core::Error::Msg(text.into()).into());
        }
        STATE.set(State {
            steps: None,
            tracked,
        });
        let _guard = Guard;
        let mut gradients = HashMap::from([(loss.id(), loss.ones_like()?)]);
        for (index, step) in steps.into_iter().enumerate().rev() {
            let inputs = step.backward(&mut gradients)?;
            for input in inputs {
                if first_uses.get(&input.id()) == Some(&index)
                    && let Some(gradient) = gradients.remove(&input.id())
                {
                    finished(&input, gradient)?;
                }
            }
        }
        Ok(())
    }

    /// The variables on the tape, in the order in which a backward pass finishes their gradients.
    pub(crate) fn variables(&self) -> Vec<Tensor> {
        let first_uses = self.first_uses();
        let mut found = HashSet::new();
        let mut variables = Vec::with_capacity(first_uses.len());
        for (index, step) in self.steps.iter().enumerate().rev() {
            for input in &step.inputs {
                if first_uses.get(&input.id()) == Some(&index) && found.insert(input.id()) {
                    variables.push(input.clone());
                }
            }
        }
        variables
    }

    /// The first step that takes each variable: the last of a backward pass to add to its gradient.
    fn first_uses(&self) -> HashMap<TensorId, usize> {
        let mut uses = HashMap::new();
        for (index, step) in self.steps.iter().enumerate() {
            for input in step.inputs.iter().filter(|t| t.is_variable()) {
                uses.entry(input.id()).or_insert(index);
            }
        }
        uses
    }
}

impl Step {
    /// Passes the gradients of the outputs on to the inputs, which are returned.
    fn backward(self, gradients: &mut HashMap<TensorId, Tensor>) -> Result<Vec<Tensor>> {
        let of_outputs: Vec<_> = self
            .outputs
            .iter()
            .map(|o| gradients.remove(&o.id))
            .collect();
        if of_outputs.iter().all(Option::is_none) {
            return Ok(self.inputs);
        }
        let of_inputs = (self.back)(&of_outputs)?;
        for (input, gradient) in self.inputs.iter().zip(of_inputs) {
            let Some(gradient) = gradient.filter(|_| tracks(input)) else {
                continue;
            };
            let total = match gradients.remove(&input.id()) {
                Some(earlier) => sum(&earlier, &gradient)?,
                None => gradient,
            };
            gradients.insert(input.id(), total);
        }
        Ok(self.inputs)
    }
}

/// A store without gradients.
pub(crate) fn empty_store(like: &Tensor) -> Result<GradStore> {
    // candle gives out an empty store only as the result of a backward pass.
    like.detach().backward()
}

fn recording() -> bool {
    STATE.with_borrow(|state| state.steps.is_some())
}

/// Whether a gradient into `t` is wanted.
pub(crate) fn tracks(t: &Tensor) -> bool {
    t.track_op() || STATE.with_borrow(|state| state.tracked.contains(&t.id()))
}

/// Whether nothing will ask for a gradient into any of `inputs`.
pub(crate) fn untracked<'a>(inputs: impl IntoIterator<Item = &'a Tensor>) -> bool {
    !inputs.into_iter().any(tracks)
}

/// Writes an operation to the tape if this thread records and one of the inputs is wanted; else forgets `back`.
pub(crate) fn push(
    inputs: &[&Tensor],
    outputs: &[&Tensor],
    back: impl FnOnce(&[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> + 'static,
) {
    let outputs = outputs.iter().map(|t| Output::new(t, false));
    write(inputs, outputs, back);
}

/// As [`push`], of an operation whose `back` holds its only output.
fn push_kept(
    inputs: &[&Tensor],
    output: &Tensor,
    back: impl FnOnce(&[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> + 'static,
) {
    write(inputs, std::iter::once(Output::new(output, true)), back);
}

fn write(
    inputs: &[&Tensor],
    outputs: impl Iterator<Item = Output>,
    back: impl FnOnce(&[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> + 'static,
) {
    if !recording() || !inputs.iter().any(|t| tracks(t)) {
        return;
    }
    let step = Step {
        inputs: inputs.iter().map(|t| (*t).clone()).collect(),
        outputs: outputs.collect(),
        back: Box::new(back),
    };
    STATE.with_borrow_mut(|state| {
        state.tracked.extend(step.outputs.iter().map(|o| o.id));
        if let Some(steps) = &mut state.steps {
            steps.push(step);
        }
    });
}

/// Whether operations go to the tape of this thread instead of candle's graph.
pub(crate) fn on_tape() -> bool {
    recording()
}

/// The gradient of an operation's only output.
fn only(gradients: &[Option<Tensor>]) -> Result<&Tensor> {
    match gradients {
        [Some(gradient)] => Ok(gradient),
        _ => bail!("backward: an operation with one output got no gradient for it"),
    }
}

/// `op` of `x`, on the tape or in candle's graph.
pub(crate) fn apply1<C: CustomOp1 + Send + Sync + 'static>(x: &Tensor, op: C) -> Result<Tensor> {
    if !recording() {
        return x.apply_op1(op);
    }
    let y = x.apply_op1_no_bwd(&op)?;
    let (xs, ys) = (x.clone(), y.clone());
    push_kept(&[x], &y, move |g| Ok(vec![op.bwd(&xs, &ys, only(g)?)?]));
    Ok(y)
}

/// As [`apply1`], of two tensors.
pub(crate) fn apply2<C: CustomOp2 + Send + Sync + 'static>(
    a: &Tensor,
    b: &Tensor,
    op: C,
) -> Result<Tensor> {
    if !recording() {
        return a.apply_op2(b, op);
    }
    let y = a.apply_op2_no_bwd(b, &op)?;
    let (x1, x2, ys) = (a.clone(), b.clone(), y.clone());
    push_kept(&[a, b], &y, move |g| {
        let (da, db) = op.bwd(&x1, &x2, &ys, only(g)?)?;
        Ok(vec![da, db])
    });
    Ok(y)
}

/// As [`apply1`], of three tensors.
pub(crate) fn apply3<C: CustomOp3 + Send + Sync + 'static>(
    a: &Tensor,
    b: &Tensor,
    c: &Tensor,
    op: C,
) -> Result<Tensor> {
    if !recording() {
        return a.apply_op3(b, c, op);
    }
    let y = a.apply_op3_no_bwd(b, c, &op)?;
    let (x1, x2, x3, ys) = (a.clone(), b.clone(), c.clone(), y.clone());
    push_kept(&[a, b, c], &y, move |g| {
        let (da, db, dc) = op.bwd(&x1, &x2, &x3, &ys, only(g)?)?;
        Ok(vec![da, db, dc])
    });
    Ok(y)
}

/// `y`, which candle computed from `x` by rearranging its values; `back` rearranges a gradient the other way round.
pub(crate) fn rearranged(
    x: &Tensor,
    y: Tensor,
    back: impl FnOnce(&Tensor) -> Result<Tensor> + 'static,
) -> Tensor {
    if !recording() || y.id() == x.id() {
        return y;
    }
    let y = y.detach();
    push(&[x], &[&y], move |g| Ok(vec![Some(back(only(g)?)?)]));
    y
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;
    use crate::ops;

    #[test]
    fn a_tensor_used_twice_gets_both_gradients() {
        let x = Var::from_slice(&[1f32, -2., 3.], 3, &Device::Cpu).unwrap();
        let zero = x.zeros_like().unwrap();
        let f = || ops::mse(&ops::add(&x, &ops::relu(&x)?)?, &zero);
        let expected = f().unwrap().backward().unwrap();
        let (loss, tape) = record(f).unwrap();
        let found = tape.backward(&loss).unwrap();
        let of = |store: &GradStore| store.get(&x).unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(of(&found), of(&expected));
    }

    #[test]
    fn a_gradient_is_given_out_when_nothing_is_added_any_more() {
        let of = |values: &[f32]| Var::from_slice(values, values.len(), &Device::Cpu).unwrap();
        let (early, twice, late) = (of(&[1.0, 2.0]), of(&[3.0, -4.0]), of(&[5.0, 6.0]));
        let zero = early.zeros_like().unwrap();
        let f = || {
            let x = ops::add(&early, &twice)?;
            let x = ops::add(&ops::silu(&x)?, &late)?;
            ops::mse(&ops::add(&x, &twice)?, &zero)
        };
        let (loss, tape) = record(f).unwrap();
        let expected = f().unwrap().backward().unwrap();
        let order: Vec<_> = tape.variables().iter().map(Tensor::id).collect();
        // The second variable waits for its first use, which the backward pass reaches last.
        assert_eq!(order, [late.id(), early.id(), twice.id()]);
        let mut found = Vec::new();
        tape.backward_each(&loss, &mut |variable, gradient| {
            let values = |t: &Tensor| t.to_vec1::<f32>().unwrap();
            assert_eq!(values(&gradient), values(expected.get(variable).unwrap()));
            found.push(variable.id());
            Ok::<(), candle_core::Error>(())
        })
        .unwrap();
        assert_eq!(found, order);
    }

    #[test]
    fn nothing_is_left_behind() {
        let x = Var::from_slice(&[1f32], 1, &Device::Cpu).unwrap();
        let failed: Result<((), Tape)> = record(|| bail!("no"));
        assert!(failed.is_err());
        assert!(!recording());
        let other = ops::relu(&x).unwrap();
        let (loss, tape) = record(|| ops::relu(&x)).unwrap();
        assert!(tape.backward(&other).is_err());
        assert!(!tracks(&loss));
    }

    #[test]
    fn one_recording_at_a_time() {
        let nested = record(|| record(|| Ok::<(), candle_core::Error>(())).map(|_| ()));
        assert!(nested.is_err());
        assert!(!recording());
    }
}
