//! From the owner's file to what the scheduler is told.

use crate::config::{Config, SharedImages};
use berth_wire::{descriptor::Runtime, job::Image, worker::Capacity};

/// What the worker gives in all.
pub(crate) fn capacity(config: &Config) -> Capacity {
    let docker = config.docker.as_ref();
    Capacity {
        slots: config.capacity.slots.get(),
        cpu_millis: config.capacity.cpu_millis.get(),
        memory_bytes: config.capacity.memory.0,
        disk_bytes: config.capacity.disk.0,
        network: docker.is_some_and(|docker| docker.network)
            || config.qemu.as_ref().is_some_and(|qemu| qemu.network)
            || config.slurm.as_ref().is_some_and(|slurm| slurm.network)
            || config.virtualbox.as_ref().is_some_and(|virtualbox| virtualbox.network),
        fetches_images: docker.is_some_and(|docker| docker.fetch_images)
            || config.slurm.as_ref().is_some_and(|slurm| slurm.fetch_images),
    }
}

/// The only images that are shared, if the owner named some. (Of virtual machines there are no others.)
pub(crate) fn only(config: &Config) -> Option<Vec<Image>> {
    let shared = config.docker.iter().map(|docker| &docker.images);
    let mut containers = Vec::new();
    for images in shared.chain(config.slurm.iter().map(|slurm| &slurm.images)) {
        match images {
            SharedImages::All => return None,
            SharedImages::Only(images) => containers.extend(images.iter().cloned()),
        }
    }
    let machines = config.qemu.iter().flat_map(|qemu| &qemu.images).map(|machine| machine.image());
    let more = config.virtualbox.iter().flat_map(|virtualbox| &virtualbox.images).map(|machine| machine.image());
    Some(containers.into_iter().chain(machines).chain(more).collect())
}

/// The engines that are shared.
pub(crate) fn engines(config: &Config) -> Vec<Runtime> {
    let shared = [
        config.docker.as_ref().map(|_| Runtime::Docker),
        config.qemu.as_ref().map(|_| Runtime::Qemu),
        config.slurm.as_ref().map(|_| Runtime::Slurm),
        config.virtualbox.as_ref().map(|_| Runtime::Virtualbox),
    ];
    shared.into_iter().flatten().collect()
}

/// Whether an app's disk that is absent is fetched.
pub(crate) fn fetches_disks(config: &Config) -> bool {
    config.qemu.as_ref().is_some_and(|qemu| qemu.fetch_images)
}
