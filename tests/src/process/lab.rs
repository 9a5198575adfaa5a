//! A network of its own for every process: network namespaces, each with an address, and one in
//! the middle that passes on what they send to each other. Links are taken down, and directions
//! closed, as administrators and accidents do it; nothing of it touches the machine's own network.
//!
//! It takes rights to make namespaces. Who lacks them is told why, and cannot run these tests.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

/// Where `ip` keeps the namespaces that have names.
const NAMES: &str = "/run/netns";
/// Names of namespaces made here begin so; then come the process and a number.
const PREFIX: &str = "bts";
/// The address of the one in the middle; it ends on 1, members from 10 on.
const MIDDLE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

/// The namespaces; they are removed with it, and so is all that runs in them then.
#[derive(Debug)]
pub struct Lab {
    name: String,
    members: usize,
}

impl Lab {
    /// Makes a network of so many members; the error says why that is not possible here.
    pub fn new(members: usize) -> Result<Arc<Self>, String> {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        if number == 0 {
            remove_left_over();
        }
        let name = format!("{PREFIX}-{}-{number}", process::id());
        let lab = Self { name, members };
        lab.build()?;
        Ok(Arc::new(lab))
    }

    /// The address of a member.
    pub fn address(&self, member: usize) -> IpAddr {
        let [a, b, c, _] = MIDDLE.octets();
        let last = u8::try_from(10 + member).expect("few members");
        Ipv4Addr::new(a, b, c, last).into()
    }

    /// The command that runs a program in the namespace of a member.
    pub fn command(&self, member: usize, program: &Path) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.of(member)])
            .arg(program);
        command
    }

    /// Runs this in a thread in the namespace of a member, with a runtime of its own.
    pub fn within<T, F>(self: &Arc<Self>, member: usize, work: F) -> Within<T>
    where
        T: Send + 'static,
        F: AsyncFnOnce() -> T + Send + 'static,
    {
        let namespace = Path::new(NAMES).join(self.of(member));
        let (done, result) = mpsc::channel();
        let thread = thread::spawn(move || {
            enter(&namespace).expect("the namespace was just made");
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            let result = runtime.block_on(work());
            // Nobody waits any more if the test has failed.
            let _ = done.send(result);
        });
        Within { thread, result }
    }

    /// Takes the link of a member down.
    pub fn cut(&self, member: usize) {
        self.demand(&format!("-n {} link set m{member} down", self.middle()));
    }

    /// Takes it up again.
    pub fn mend(&self, member: usize) {
        self.demand(&format!("-n {} link set m{member} up", self.middle()));
        self.demand(&self.route_to(member));
    }

    /// Loses in the middle what one member sends to another, without a word.
    pub fn lose(&self, from: usize, to: usize) {
        self.demand(&self.rule("add", from, to));
    }

    /// Passes it on again.
    pub fn pass(&self, from: usize, to: usize) {
        self.demand(&self.rule("del", from, to));
    }

    /// Takes the route from one member to another, so that the sender's own system refuses.
    pub fn refuse(&self, from: usize, to: usize) {
        let (own, to) = (self.of(from), self.address(to));
        self.demand(&format!("-n {own} route add blackhole {to}/32"));
    }

    /// Gives it back.
    pub fn allow(&self, from: usize, to: usize) {
        let (own, to) = (self.of(from), self.address(to));
        self.demand(&format!("-n {own} route del blackhole {to}/32"));
    }

    fn build(&self) -> Result<(), String> {
        let middle = self.middle();
        ip(&format!("netns add {middle}"))?;
        ip(&format!("-n {middle} link set lo up"))?;
        ip(&format!("-n {middle} addr add {MIDDLE}/32 dev lo"))?;
        let forward = "echo 1 > /proc/sys/net/ipv4/ip_forward";
        run(Command::new("ip").args(["netns", "exec", &middle, "sh", "-c", forward]))?;
        for member in 0..self.members {
            let (own, address) = (self.of(member), self.address(member));
            ip(&format!("netns add {own}"))?;
            ip(&format!("-n {own} link set lo up"))?;
            ip(&format!(
                "-n {middle} link add m{member} type veth peer name eth0 netns {own}"
            ))?;
            ip(&format!("-n {middle} link set m{member} up"))?;
            ip(&self.route_to(member))?;
            ip(&format!("-n {own} addr add {address}/32 dev eth0"))?;
            ip(&format!("-n {own} link set eth0 up"))?;
            ip(&format!("-n {own} route add {MIDDLE} dev eth0"))?;
            ip(&format!("-n {own} route add default via {MIDDLE}"))?;
        }
        // What the tests need besides, if there is a member to try it with.
        if self.members > 0 {
            ip(&self.rule("add", 0, 0))?;
            ip(&self.rule("del", 0, 0))?;
        }
        Ok(())
    }

    fn middle(&self) -> String {
        format!("{}-middle", self.name)
    }

    fn of(&self, member: usize) -> String {
        format!("{}-{member}", self.name)
    }

    fn route_to(&self, member: usize) -> String {
        let (middle, address) = (self.middle(), self.address(member));
        format!("-n {middle} route add {address} dev m{member}")
    }

    fn rule(&self, verb: &str, from: usize, to: usize) -> String {
        let (middle, from, to) = (self.middle(), self.address(from), self.address(to));
        format!("-n {middle} rule {verb} from {from} to {to} blackhole")
    }

    fn demand(&self, arguments: &str) {
        if let Err(error) = ip(arguments) {
            panic!("{error}");
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let members = (0..self.members).map(|member| self.of(member));
        for name in members.chain([self.middle()]) {
            // It is not there if making it failed.
            let _ = ip(&format!("netns del {name}"));
        }
    }
}

/// Work that goes on in a namespace.
#[derive(Debug)]
pub struct Within<T> {
    thread: thread::JoinHandle<()>,
    result: mpsc::Receiver<T>,
}

impl<T> Within<T> {
    /// True once it has ended, well or not.
    pub fn is_over(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for its end; if it failed, so does the caller.
    pub fn join(self) -> T {
        if let Err(failed) = self.thread.join() {
            std::panic::resume_unwind(failed);
        }
        self.result.recv().expect("it ended well")
    }
}

/// Processes that were killed could not remove what they had made.
fn remove_left_over() {
    let Ok(names) = fs::read_dir(NAMES) else {
        return;
    };
    for name in names.flatten() {
        let name = name.file_name().to_string_lossy().into_owned();
        let mut parts = name.split('-');
        let is_ours = parts.next() == Some(PREFIX);
        let process = parts.next().and_then(|process| process.parse::<u32>().ok());
        let is_left =
            process.is_some_and(|process| !PathBuf::from(format!("/proc/{process}")).exists());
        if is_ours && is_left {
            let _ = ip(&format!("netns del {name}"));
        }
    }
}

fn ip(arguments: &str) -> Result<(), String> {
    run(Command::new("ip").args(arguments.split(' ')))
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output();
    let output = output.map_err(|error| format!("{command:?}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => {
            let told = String::from_utf8_lossy(&output.stderr);
            Err(format!("{command:?}: {}", told.trim()))
        }
    }
}

/// Moves this thread into a namespace: its sockets belong there from now on.
#[cfg(target_os = "linux")]
fn enter(namespace: &Path) -> std::io::Result<()> {
    use std::os::fd::AsFd;

    use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

    let file = fs::File::open(namespace)?;
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
    Ok(())
}

/// There are no namespaces to enter.
#[cfg(not(target_os = "linux"))]
fn enter(_namespace: &Path) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}
