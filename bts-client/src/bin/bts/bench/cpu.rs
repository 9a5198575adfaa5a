//! How long processes have computed, where the system tells: on Linux.

use std::fs;
use std::time::Duration;

/// Linux counts in hundredths of a second for whoever asks, on all machines.
const TICK: Duration = Duration::from_millis(10);

/// How long all threads of a process have computed so far, those that have ended included.
pub(super) fn of_process(pid: u32) -> Option<Duration> {
    of_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The same of all these processes together.
pub(super) fn of_processes(pids: &[u32]) -> Option<Duration> {
    let all: Option<Vec<Duration>> = pids.iter().map(|pid| of_process(*pid)).collect();
    all.filter(|all| !all.is_empty())
        .map(|all| all.into_iter().sum())
}

/// The same of this process.
pub(super) fn of_this_process() -> Option<Duration> {
    of_process(std::process::id())
}

fn of_stat(stat: &str) -> Option<Duration> {
    // The name of the program may hold anything, blanks and parentheses as well.
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u32>().ok();
    let (user, system) = (ticks()?, ticks()?);
    Some(TICK * user.checked_add(system)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_is_read_behind_the_name() {
        let stat = "17 (a) b) S 1 17 17 0 -1 4194304 1 2 3 4 120 30 7 8 20 0 1 0 5 6";
        assert_eq!(of_stat(stat), Some(Duration::from_millis(1500)));
        assert_eq!(of_stat("17 (a"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn cpu_of_who_is_not_there_is_not_known() {
        assert!(of_this_process().is_some());
        assert_eq!(of_processes(&[]), None);
        assert_eq!(of_processes(&[std::process::id(), u32::MAX]), None);
    }
}
