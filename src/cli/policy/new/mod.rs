//! `pulsegate policy new`: a project that builds a policy, in a language of one's choice.

mod c;
mod javascript;
mod lang;
mod project;
mod python;
mod rust;

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde_json::json;

use self::lang::Lang;
use self::project::{Export, File, Project};
use super::super::text::{print, print_json};
use super::{Exit, Failure, Outcome};

/// Longest name: that of a policy in its description.
const NAME_BYTES: usize = 63;
/// Names that one of the languages, or the gateway, has taken.
const TAKEN: [&str; 12] = [
    "builtin",
    "component",
    "guest",
    "once-cell",
    "policy",
    "pulsegate",
    "pulsegate-sdk",
    "serde",
    "serde-json-core",
    "test",
    "wit",
    "wit-bindgen",
];

/// Arguments of `pulsegate policy new`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The project needs nothing but its language's own tools, and no copy of this \
                  repository.\n\
                  Example: pulsegate policy new queue-watch --lang python --exports health,cadence"
)]
pub(in super::super) struct Args {
    /// Name of the policy: 1 to 63 of a-z, 0-9 and -, beginning with a letter
    name: String,
    /// Language to write it in
    #[arg(long, value_enum, default_value_t = Lang::Rust)]
    lang: Lang,
    /// Questions that it answers
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        value_name = "LIST",
        default_value = "health,cadence,recovery"
    )]
    exports: Vec<Export>,
    /// Folder to make it in, which must not exist or be empty; default: NAME, here
    #[arg(long, value_name = "DIR")]
    path: Option<PathBuf>,
    /// Print JSON: the folder, its files and the commands to build and test
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Outcome {
    check_name(&args.name)?;
    let folder = args.path.clone().unwrap_or_else(|| PathBuf::from(&args.name));
    let project = Project::new(&args.name, args.lang, &args.exports);
    let files = project.files().map_err(|error| Failure::new(Exit::Refused, error))?;
    make_folder(&folder)?;
    for file in &files {
        write(&folder, file)?;
    }
    let folder = fs::canonicalize(&folder).unwrap_or(folder);
    if args.json {
        print_json(&json!({
            "folder": folder,
            "files": files.iter().map(|file| &file.path).collect::<Vec<_>>(),
            "policy": folder.join(project.artefact()),
            "build": project.lang.build(),
            "test": project.test(),
            "configuration": project.configuration(&format!("{}/", folder.display())),
        }));
    } else {
        print(&describe(&project, &folder, args.path.as_deref()));
    }
    if let (program, from) = project.lang.program()
        && !is_there(program)
    {
        eprintln!("pulsegate: note: {program} is not there, and the build needs it ({from})");
    }
    Ok(())
}

fn check_name(name: &str) -> Result<(), Failure> {
    let refuse =
        |reason: String| Err(Failure::new(Exit::Usage, format!("name {name:?}: {reason}")));
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if !(1..=NAME_BYTES).contains(&name.len()) || !name.bytes().all(allowed) {
        return refuse(format!("it must be 1 to {NAME_BYTES} of a-z, 0-9 and -"));
    }
    if !name.starts_with(|first: char| first.is_ascii_lowercase()) {
        return refuse("it must begin with a letter".into());
    }
    if name.ends_with('-') || name.contains("--") {
        return refuse("a - must stand between two others".into());
    }
    if TAKEN.contains(&name) || is_keyword(name) {
        return refuse("it is taken, by Rust or by Pulsegate".into());
    }
    Ok(())
}

/// Whether Rust takes no crate of this name. Source: the Rust reference, keywords.
fn is_keyword(name: &str) -> bool {
    const KEYWORDS: &str = "abstract alloc as async await become box break const continue core \
        crate do dyn else enum extern false final fn for gen if impl in let loop macro match mod \
        move mut override priv proc-macro pub ref return self static std struct super trait true \
        try type typeof unsafe unsized use virtual where while yield";
    KEYWORDS.split_whitespace().any(|keyword| keyword == name)
}

/// Makes the folder, or takes an empty one: nothing that is there is ever overwritten.
fn make_folder(folder: &Path) -> Outcome {
    let failed = |reason: String| {
        Err(Failure::new(Exit::Refused, format!("{}: {reason}", folder.display())))
    };
    if let Err(error) = fs::create_dir_all(folder) {
        return match error.kind() {
            ErrorKind::AlreadyExists => failed("is there already, and is no folder".into()),
            _ => failed(format!("cannot be made: {error}")),
        };
    }
    match fs::read_dir(folder).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(()),
        Ok(false) => failed("is not empty, and nothing in it is overwritten".into()),
        Err(error) => failed(format!("cannot be read: {error}")),
    }
}

fn write(folder: &Path, file: &File) -> Outcome {
    let path = folder.join(&file.path);
    let written = path
        .parent()
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| OpenOptions::new().write(true).create_new(true).open(&path))
        .and_then(|mut open| open.write_all(&file.bytes));
    written.map_err(|error| {
        let message = format!("{}: {error}; the project is not complete", path.display());
        Failure::new(Exit::Refused, message)
    })
}

/// What was made, and what to do next.
fn describe(project: &Project, folder: &Path, asked: Option<&Path>) -> String {
    let shown = asked.unwrap_or(Path::new(&project.name)).display();
    format!(
        "{} is a policy in {} that {}.\n\n\
         Build it:\n  cd {shown}\n  {}\n\n\
         Test it:\n  {}\n\n\
         Install it, in the configuration of the gateway:\n{}\n\
         What each file is stands in README.md.\n",
        project.name,
        project.lang.title(),
        project.summary(),
        project.lang.build(),
        project.test(),
        indented(&project.configuration(&format!("{}/", folder.display()))),
    )
}

fn indented(text: &str) -> String {
    let line = |line: &str| if line.is_empty() { "\n".into() } else { format!("  {line}\n") };
    text.lines().map(line).collect()
}

/// Whether a program of this name is in one of the folders of PATH.
fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let name = format!("{program}{}", std::env::consts::EXE_SUFFIX);
    std::env::split_paths(&path).any(|folder| folder.join(&name).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_a_language_or_the_gateway_would_refuse_are_refused() {
        for name in ["a", "queue-watch", "v2-x", &"a".repeat(63)] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for (name, reason) in [
            ("", "1 to 63"),
            (&"a".repeat(64), "1 to 63"),
            ("Queue", "1 to 63"),
            ("queue_watch", "1 to 63"),
            ("../up", "1 to 63"),
            ("a b", "1 to 63"),
            ("2nd", "begin with a letter"),
            ("-x", "begin with a letter"),
            ("x-", "between two others"),
            ("x--y", "between two others"),
            ("builtin", "taken"),
            ("serde", "taken"),
            ("async", "taken"),
        ] {
            let failure = check_name(name).expect_err(name);
            assert!(failure.message.contains(reason), "{}", failure.message);
            assert_eq!(failure.exit, Exit::Usage);
        }
    }
}
