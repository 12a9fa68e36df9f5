//! NVIDIA GPUs, by NVML, which is loaded while running: a machine without the driver has no GPUs, and that is all.

use hb_core::facts::{GpuReading, NodeReading};
use nvml_wrapper::{
    Device, Nvml,
    bitmasks::device::ThrottleReasons,
    enum_wrappers::device::{Clock, TemperatureSensor},
    error::NvmlError,
};

use super::probes::{Probe, ProbeError, Sampler};

/// All GPUs that this process may see.
pub(super) struct Nvidia;
struct NvidiaSampler(Nvml);

impl Probe for Nvidia {
    fn name(&self) -> &'static str {
        "nvidia"
    }
    fn open(&self) -> Result<Box<dyn Sampler>, ProbeError> {
        let nvml = Nvml::init().map_err(|error| match error {
            NvmlError::LibloadingError(_) | NvmlError::DriverNotLoaded | NvmlError::LibraryNotFound => {
                ProbeError::Absent(error.to_string())
            }
            error => ProbeError::Failed(error.to_string()),
        })?;
        Ok(Box::new(NvidiaSampler(nvml)))
    }
}

impl Sampler for NvidiaSampler {
    fn sample(&mut self, reading: &mut NodeReading) -> Result<(), ProbeError> {
        let failed = |error: NvmlError| ProbeError::Failed(error.to_string());
        let mut first_error = None;
        for index in 0..self.0.device_count().map_err(failed)? {
            // One lost GPU hides no other.
            match self.0.device_by_index(index).and_then(|device| read(&device, index)) {
                Ok(gpu) => reading.gpus.push(gpu),
                Err(error) => first_error = first_error.or(Some(ProbeError::Failed(format!("GPU {index}: {error}")))),
            }
        }
        first_error.map_or(Ok(()), Err)
    }
}

/// What every GPU tells must be there; what only some tell may be absent.
fn read(device: &Device<'_>, index: u32) -> Result<GpuReading, NvmlError> {
    let memory = device.memory_info()?;
    // A GPU that is split into instances tells no share of its own.
    let utilization = device.utilization_rates().map(|rates| rates.gpu).or_else(|error| match error {
        NvmlError::NotSupported => Ok(0),
        error => Err(error),
    })?;
    Ok(GpuReading {
        index,
        uuid: device.uuid()?,
        name: device.name()?,
        utilization_percent: utilization as f32,
        memory_used_bytes: memory.used,
        memory_total_bytes: memory.total,
        power_watts: device.power_usage().ok().map(|milliwatts| milliwatts as f32 / 1e3),
        energy_joules: device.total_energy_consumption().ok().map(|millijoules| millijoules as f64 / 1e3),
        temperature_celsius: device.temperature(TemperatureSensor::Gpu).ok().map(|degrees| degrees as f32),
        sm_clock_mhz: device.clock_info(Clock::SM).ok(),
        is_throttled: device.current_throttle_reasons().ok().map(is_held_down),
    })
}

/// Whether one of the reasons is not an ordinary state: an idle GPU clocks down, and a clock that an administrator
/// set is a setting.
fn is_held_down(reasons: ThrottleReasons) -> bool {
    !(reasons - ThrottleReasons::GPU_IDLE - ThrottleReasons::APPLICATIONS_CLOCKS_SETTING).is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idling_is_no_throttling_and_heat_is() {
        assert!(!is_held_down(ThrottleReasons::empty()));
        assert!(!is_held_down(ThrottleReasons::GPU_IDLE));
        assert!(!is_held_down(ThrottleReasons::GPU_IDLE | ThrottleReasons::APPLICATIONS_CLOCKS_SETTING));
        assert!(is_held_down(ThrottleReasons::GPU_IDLE | ThrottleReasons::SW_THERMAL_SLOWDOWN));
        assert!(is_held_down(ThrottleReasons::SW_POWER_CAP));
    }
}
