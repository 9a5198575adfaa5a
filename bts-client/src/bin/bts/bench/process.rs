//! How long processes have computed and how much memory they have, where the system tells: on Linux.

use std::fs;
use std::time::Duration;

/// Linux counts in hundredths of a second for whoever asks, on all machines.
const TICK: Duration = Duration::from_millis(10);

/// How long all threads of a process have computed so far, those that have ended included.
fn cpu_of(pid: u32) -> Option<Duration> {
    of_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The same of all these processes together.
pub(super) fn cpu_of_all(pids: &[u32]) -> Option<Duration> {
    let all: Option<Vec<Duration>> = pids.iter().map(|pid| cpu_of(*pid)).collect();
    all.filter(|all| !all.is_empty())
        .map(|all| all.into_iter().sum())
}

/// The same of this process.
pub(super) fn cpu_of_this() -> Option<Duration> {
    cpu_of(std::process::id())
}

/// The bytes of memory that these processes have together.
pub(super) fn memory_of_all(pids: &[u32]) -> Option<u64> {
    let of_process =
        |pid: &u32| of_status(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?);
    let all: Option<Vec<u64>> = pids.iter().map(of_process).collect();
    all.filter(|all| !all.is_empty())
        .map(|all| all.into_iter().sum())
}

fn of_status(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    kib.checked_mul(1024)
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
    fn process_is_read_behind_the_name() {
        let stat = "17 (a) b) S 1 17 17 0 -1 4194304 1 2 3 4 120 30 7 8 20 0 1 0 5 6";
        assert_eq!(of_stat(stat), Some(Duration::from_millis(1500)));
        assert_eq!(of_stat("17 (a"), None);
        assert_eq!(of_status("Name:\ta\nVmRSS:\t   12 kB\n"), Some(12 * 1024));
        assert_eq!(of_status("Name:\ta\n"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn process_of_who_is_not_there_is_not_known() {
        assert!(cpu_of_this().is_some());
        assert_eq!(cpu_of_all(&[]), None);
        assert_eq!(cpu_of_all(&[std::process::id(), u32::MAX]), None);
    }
}
