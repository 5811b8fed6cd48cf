//! Where a result comes: a folder that holds nothing else.

use crate::hint::Failure;
use berth_protocol::DealId;
use std::path::Path;

/// A folder that does not exist, or has nothing in it: results overwrite nothing.
pub(crate) fn check_empty(folder: &Path) -> Result<(), Failure> {
    match std::fs::read_dir(folder) {
        Ok(mut entries) => match entries.next() {
            Some(_) => {
                let message = format!("{} is not empty, and a result overwrites nothing", folder.display());
                Err(Failure::usage("out", message).hint("give --out another folder"))
            }
            None => Ok(()),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Failure::file(folder, "used as --out", &error)),
    }
}

/// Stands in a folder while not all of a result has come: of which deal.
const UNFINISHED: &str = ".berth-unfinished";

/// Whether a deal's result may come into a folder: it is empty, or a download of the same deal stopped there.
pub(crate) fn check_free(folder: &Path, deal: DealId) -> Result<(), Failure> {
    match std::fs::read_to_string(folder.join(UNFINISHED)) {
        Ok(whose) if whose == deal.to_string() => Ok(()),
        Ok(_) | Err(_) => check_empty(folder),
    }
}

/// Takes a folder for a deal's result.
pub(crate) fn claim(folder: &Path, deal: DealId) -> Result<(), Failure> {
    check_free(folder, deal)?;
    let failed = |error: std::io::Error| Failure::file(folder, "made", &error);
    std::fs::create_dir_all(folder).map_err(failed)?;
    std::fs::write(folder.join(UNFINISHED), deal.to_string()).map_err(failed)
}

/// All of it has come.
pub(crate) fn finished(folder: &Path) -> Result<(), Failure> {
    let marker = folder.join(UNFINISHED);
    std::fs::remove_file(&marker).map_err(|error| Failure::file(&marker, "removed", &error))
}
