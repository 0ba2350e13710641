//! Training by several processes.

use std::sync::Arc;

use cytoself_model::{Alone, Collectives};

use super::device::DeviceArgs;
use crate::cli::{self, Common, Failure};

/// Variables in which launchers say how many processes they started.
const LAUNCHERS: [&str; 3] = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"];

/// The processes that train together: those that `mpirun` or `srun` started if `mpi` is true, else this one.
///
/// # Errors
/// - this build has no MPI;
/// - this is one of several processes that know nothing of each other.
pub(super) fn join(mpi: bool) -> Result<Arc<dyn Collectives>, Failure> {
    if mpi {
        return over_mpi();
    }
    for name in LAUNCHERS {
        let count = std::env::var(name)
            .ok()
            .and_then(|n| n.parse::<usize>().ok());
        if let Some(count) = count.filter(|n| *n > 1) {
            return Err(Failure::input(format!(
                "started as one of {count} processes ({name}), which would all write the same model: give --mpi to train together"
            )));
        }
    }
    Ok(Arc::new(Alone))
}

#[cfg(feature = "mpi")]
fn over_mpi() -> Result<Arc<dyn Collectives>, Failure> {
    Ok(Arc::new(cytoself_model::Mpi::join()?))
}

#[cfg(not(feature = "mpi"))]
fn over_mpi() -> Result<Arc<dyn Collectives>, Failure> {
    Err(Failure::input(
        "--mpi: this build has no MPI; build with --features cytoself-examples/mpi (docs/cluster.md)",
    ))
}

/// Variables in which launchers say which process of its machine this is.
const PLACES: [&str; 3] = [
    "OMPI_COMM_WORLD_LOCAL_RANK",
    "SLURM_LOCALID",
    "MPI_LOCALRANKID",
];

/// The flags with a GPU of its own for every rank of a machine, where `cuda` names none.
pub(super) fn device(flags: &DeviceArgs, team: &dyn Collectives) -> DeviceArgs {
    let place = PLACES.iter().find_map(|name| std::env::var(name).ok());
    match place {
        Some(place) if team.size() > 1 && flags.device == "cuda" => DeviceArgs {
            device: format!("cuda:{place}"),
            ..flags.clone()
        },
        _ => flags.clone(),
    }
}

/// The shared flags as this rank has them: rank 0 alone prints.
pub(super) fn flags(common: &Common, team: &dyn Collectives) -> Common {
    Common {
        quiet: common.quiet || team.rank() > 0,
        ..common.clone()
    }
}

/// Ends the other ranks too when this one failed, and sees to it that a failure is reported once.
pub(super) fn end<T>(result: Result<T, Failure>, team: &dyn Collectives) -> Result<T, Failure> {
    let Err(failure) = result else {
        return result;
    };
    if team.size() == 1 {
        return Err(failure);
    }
    match failure {
        Failure::AllRanks(_) | Failure::Interrupted(_) if team.rank() > 0 => {
            Err(Failure::Elsewhere(failure.code()))
        }
        Failure::AllRanks(_) | Failure::Interrupted(_) | Failure::Elsewhere(_) => Err(failure),
        failure => {
            let code = failure.code();
            let place = format!("rank {} of {}", team.rank(), team.size());
            cli::report("train", &failure.context(place));
            team.abort(i32::from(code));
            Err(Failure::Elsewhere(code))
        }
    }
}
