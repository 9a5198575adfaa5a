//! `bts-certs`: makes and shows the certificates of a deployment.
//!
//! What a configuration needs goes to standard output, one member per line: name, role, public key
//! in hexadecimal. Everything else goes to standard error. Exit code 2: bad usage or input; 1: the
//! work failed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bts_certs::deployment::{DeploymentPlan, create_deployment};
use bts_certs::folder::{self, ClusterPlan, Existing, FolderError};
use bts_certs::{
    Authority, CertificateError, Description, Identity, IssueError, Subject, SubjectError, Validity,
};
use clap::{Args, Parser, Subcommand};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use time::OffsetDateTime;

/// Makes and shows the certificates of a BTS deployment.
///
/// One authority issues one certificate per replica and per client. The public key in it is the
/// member's identity, which the cluster configuration lists. Keep ca.key off the replicas.
#[derive(Parser)]
#[command(name = "bts-certs", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a certificate authority: ca.crt and ca.key.
    Ca {
        /// Folder for the files; created if it does not exist.
        folder: PathBuf,
        /// Days until the certificate ends.
        #[arg(long, default_value_t = 3650, value_parser = clap::value_parser!(u16).range(1..))]
        days: u16,
        /// Replace an authority that exists. All certificates it issued become worthless.
        #[arg(long)]
        force: bool,
    },
    /// Make key and certificate of a replica: replica-<index>.crt and .key.
    Replica {
        /// Folder with the authority.
        folder: PathBuf,
        #[command(flatten)]
        replica: ReplicaArgs,
        #[command(flatten)]
        options: Options,
    },
    /// Make key and certificate of a client: <name>.crt and .key.
    Client {
        /// Folder with the authority.
        folder: PathBuf,
        /// Name of the client.
        #[arg(long)]
        name: String,
        #[command(flatten)]
        options: Options,
    },
    /// Make a whole deployment: authority, keys, certificates, and the settings of every member.
    ///
    /// On separate hosts give their addresses. Each host needs ca.crt, cluster.toml and the three
    /// files of its member; ca.key belongs on none of them.
    Cluster {
        /// Folder for the files; created if it does not exist.
        folder: PathBuf,
        /// How many replicas.
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
        replicas: u32,
        /// Names of the clients, separated by commas.
        #[arg(long, value_delimiter = ',')]
        clients: Vec<String>,
        /// Name of the client that may change the members of the cluster (bts admin); "" for nobody.
        #[arg(long, default_value = "operator")]
        operator: String,
        /// Hosts under which every replica may be dialed.
        #[arg(
            long = "host",
            value_delimiter = ',',
            default_value = "localhost,127.0.0.1,::1"
        )]
        hosts: Vec<String>,
        #[command(flatten)]
        place: PlaceArgs,
        #[command(flatten)]
        options: Options,
    },
    /// Make a key and a request for a certificate: <name>.key and .csr. The key stays here.
    Request {
        /// Folder for the files; created if it does not exist.
        folder: PathBuf,
        /// Name for the files; take the name of the member.
        #[arg(long)]
        name: String,
        /// Replace files that exist.
        #[arg(long)]
        force: bool,
    },
    /// Answer a request: <name>.crt. Of the request, only its public key is used.
    SignRequest {
        /// Folder with the authority.
        folder: PathBuf,
        /// The request in PEM.
        request: PathBuf,
        #[command(flatten)]
        member: MemberArgs,
        #[command(flatten)]
        options: Options,
    },
    /// Show role, name, key, validity, hosts and issuer of a certificate.
    Show {
        /// The certificate in PEM.
        file: PathBuf,
    },
}

#[derive(Args)]
struct ReplicaArgs {
    /// Index of the replica in the cluster, from 0.
    #[arg(long)]
    index: u32,
    /// Hosts (addresses or names, without port) under which it may be dialed.
    #[arg(long = "host", value_delimiter = ',')]
    hosts: Vec<String>,
}

#[derive(Args)]
struct PlaceArgs {
    /// How many replicas may be malicious; the most that so many replicas survive if not said.
    #[arg(long)]
    faults: Option<usize>,
    /// Where the replicas listen, in order: host:port, separated by commas.
    #[arg(long, value_delimiter = ',', conflicts_with = "base_port")]
    addresses: Vec<String>,
    /// Without addresses: the replicas listen on 127.0.0.1, on this port and the following.
    #[arg(long, default_value_t = 7400, value_parser = clap::value_parser!(u16).range(1..))]
    base_port: u16,
}

#[derive(Args)]
struct MemberArgs {
    /// Make it the certificate of the replica with this index.
    #[arg(long, required_unless_present = "name", conflicts_with = "name")]
    index: Option<u32>,
    /// Hosts (addresses or names, without port) under which the replica may be dialed.
    #[arg(long = "host", value_delimiter = ',', conflicts_with = "name")]
    hosts: Vec<String>,
    /// Make it the certificate of the client of this name.
    #[arg(long)]
    name: Option<String>,
}

#[derive(Args)]
struct Options {
    /// Days until the certificates end; never later than the authority's.
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u16).range(1..))]
    days: u16,
    /// Replace files that exist.
    #[arg(long)]
    force: bool,
}

/// Why the command failed, and so its exit code.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error(transparent)]
    Subject(#[from] SubjectError),
    #[error("cannot read {}: {source}", file.display())]
    Read {
        file: PathBuf,
        source: std::io::Error,
    },
    #[error("{} holds no certificate in PEM", .0.display())]
    NoCertificate(PathBuf),
    #[error("{}: {source}", file.display())]
    Certificate {
        file: PathBuf,
        source: CertificateError,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("bts-certs: {failure}{}", hint(&failure));
            ExitCode::from(failure.exit_code())
        }
    }
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Ca {
            folder,
            days,
            force,
        } => {
            folder::create_authority(&folder, Validity::days(days), existing(force))?;
            eprintln!(
                "made the authority in {}; keep ca.key secret",
                folder.display()
            );
            Ok(())
        }
        Command::Replica {
            folder,
            replica,
            options,
        } => add(
            &folder,
            &Subject::replica(replica.index, &replica.hosts)?,
            &options,
        ),
        Command::Client {
            folder,
            name,
            options,
        } => add(&folder, &Subject::client(&name)?, &options),
        Command::Cluster {
            folder,
            replicas,
            clients,
            operator,
            hosts,
            place,
            options,
        } => {
            let mut clients: Vec<_> = clients.into_iter().filter(|n| !n.is_empty()).collect();
            if !operator.is_empty() && !clients.contains(&operator) {
                clients.push(operator.clone());
            }
            let operators = vec![operator];
            let validity = options.validity();
            let members = ClusterPlan {
                replicas,
                hosts,
                clients,
                authority_validity: validity,
                validity,
            };
            let plan = place.plan(members, operators);
            cluster(&folder, plan, existing(options.force))
        }
        Command::Request {
            folder,
            name,
            force,
        } => request(&folder, &name, existing(force)),
        Command::SignRequest {
            folder,
            request,
            member,
            options,
        } => sign_request(&folder, &request, &member.subject()?, &options),
        Command::Show { file } => show(&file),
    }
}

fn add(folder: &Path, subject: &Subject, options: &Options) -> Result<(), Failure> {
    let authority = folder::open_authority(folder)?;
    let existing = existing(options.force);
    print(&folder::add_member(
        folder,
        &authority,
        subject,
        options.validity(),
        existing,
    )?);
    Ok(())
}

fn cluster(folder: &Path, plan: DeploymentPlan, existing: Existing) -> Result<(), Failure> {
    create_deployment(folder, &plan, existing)?
        .iter()
        .for_each(print);
    let folder = folder.display();
    eprintln!(
        "made a cluster of {} replicas in {folder}, of which {} may be malicious; start each with\n\
         \x20   bts-replica --config {folder}/replica-<index>.toml\n\
         keep ca.key secret: it belongs on none of the hosts",
        plan.members.replicas, plan.faults,
    );
    Ok(())
}

fn request(folder: &Path, name: &str, existing: Existing) -> Result<(), Failure> {
    let path = folder::add_request(folder, name, existing)?;
    eprintln!(
        "made {}; bring it to the authority (bts-certs sign-request)",
        path.display()
    );
    Ok(())
}

fn sign_request(
    folder: &Path,
    request: &Path,
    subject: &Subject,
    options: &Options,
) -> Result<(), Failure> {
    let authority: Authority = folder::open_authority(folder)?;
    let existing = existing(options.force);
    let path = folder::sign_request(
        folder,
        &authority,
        request,
        subject,
        options.validity(),
        existing,
    )?;
    let der = read_certificate(&path)?;
    let failed = |source| Failure::Certificate {
        file: path.clone(),
        source,
    };
    print(&Identity::from_der(&der).map_err(failed)?);
    Ok(())
}

fn show(file: &Path) -> Result<(), Failure> {
    let failed = |source| Failure::Certificate {
        file: file.into(),
        source,
    };
    let description = Description::from_der(&read_certificate(file)?).map_err(failed)?;
    println!("{description}");
    if let Some(warning) = description.warning(OffsetDateTime::now_utc()) {
        eprintln!("bts-certs: warning: {} {warning}", file.display());
    }
    Ok(())
}

fn read_certificate(file: &Path) -> Result<CertificateDer<'static>, Failure> {
    let text = fs::read(file).map_err(|source| Failure::Read {
        file: file.into(),
        source,
    })?;
    CertificateDer::from_pem_slice(&text).map_err(|_| Failure::NoCertificate(file.into()))
}

fn print(identity: &Identity) {
    println!("{} {} {}", identity.name, identity.role, identity.key_hex());
}

fn existing(force: bool) -> Existing {
    if force {
        Existing::Replace
    } else {
        Existing::Keep
    }
}

fn hint(failure: &Failure) -> &'static str {
    match failure {
        Failure::Folder(FolderError::Exists(_)) => " (--force replaces it)",
        _ => "",
    }
}

impl PlaceArgs {
    fn plan(self, members: ClusterPlan, operators: Vec<String>) -> DeploymentPlan {
        let ports = self.base_port..=u16::MAX;
        let local = ports.map(|port| format!("127.0.0.1:{port}"));
        let addresses = match self.addresses.as_slice() {
            [] => local.take(members.replicas as usize).collect(),
            _ => self.addresses,
        };
        let faults_max = members.replicas.saturating_sub(1) / 3;
        DeploymentPlan {
            faults: self.faults.unwrap_or(faults_max as usize),
            addresses,
            members,
            operators,
        }
    }
}

impl MemberArgs {
    fn subject(&self) -> Result<Subject, SubjectError> {
        match (self.index, &self.name) {
            (Some(index), _) => Subject::replica(index, &self.hosts),
            (None, name) => Subject::client(name.as_deref().unwrap_or_default()),
        }
    }
}

impl Options {
    fn validity(&self) -> Validity {
        Validity::days(self.days)
    }
}

impl Failure {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Subject(_) | Self::NoCertificate(_) | Self::Certificate { .. } => 2,
            Self::Folder(
                FolderError::Subject(_)
                | FolderError::Twice(_)
                | FolderError::Exists(_)
                | FolderError::Addresses { .. }
                | FolderError::Cluster(_),
            ) => 2,
            Self::Folder(FolderError::Issue(IssueError::Request(_) | IssueError::Key(_))) => 2,
            Self::Read { .. } | Self::Folder(_) => 1,
        }
    }
}
