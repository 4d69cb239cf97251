//! What is told about a language.

use super::project::Export;

/// A language that a policy may be written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Lang {
    Rust,
    Python,
    Javascript,
    C,
}

impl Lang {
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Rust => "Rust",
            Self::Python => "Python",
            Self::Javascript => "JavaScript",
            Self::C => "C",
        }
    }

    /// Whether its guests bring an interpreter along.
    pub(super) const fn is_interpreted(self) -> bool {
        matches!(self, Self::Python | Self::Javascript)
    }

    /// The command that builds, in the project's folder.
    pub(super) const fn build(self) -> &'static str {
        match self {
            Self::Rust => "cargo build --release --target wasm32-unknown-unknown",
            Self::Python => "python3 build.py",
            Self::Javascript => "npm install && npm run build",
            Self::C => "make",
        }
    }

    /// The program that its build begins with, and how to come by it.
    pub(super) const fn program(self) -> (&'static str, &'static str) {
        match self {
            Self::Rust => ("cargo", "https://rustup.rs"),
            Self::Python => ("python3", "Debian: apt install python3-venv"),
            Self::Javascript => ("npm", "Debian: apt install nodejs npm"),
            Self::C => ("clang", "Debian: apt install make clang lld; or pip install ziglang"),
        }
    }

    /// What the build needs, in a sentence.
    pub(super) const fn needs(self) -> &'static str {
        match self {
            Self::Rust => {
                "Needs Rust 1.95 or newer with the target `wasm32-unknown-unknown`, which \
                 rustup installs by itself."
            }
            Self::Python => {
                "Needs Python 3.10 or newer with pip and PyPI. The version of `componentize-py` \
                 stands in `requirements.txt`."
            }
            Self::Javascript => {
                "Needs Node.js 18 or newer with npm. The version of `componentize-qjs` stands \
                 in `package.json`."
            }
            Self::C => {
                "Needs make and a clang that builds for Wasm, with its linker (Debian: `apt \
                 install make clang lld`), or Zig (`make CC=\"zig cc\"`; from PyPI: `pip \
                 install ziglang`, then `make CC=\"python3 -m ziglang cc\"`)."
            }
        }
    }

    /// What else its author should know.
    pub(super) const fn notes(self) -> &'static str {
        match self {
            Self::Rust => {
                "The functions are plain: `cargo test` tests them without a gateway.\n\nThe \
                 build leaves a module, which Pulsegate takes as it is. For other tools, make a \
                 component of it: `pulsegate policy component IN.wasm OUT.wasm`."
            }
            Self::Python => {
                "To see the words of the contract in an editor, or to test the functions in \
                 Python, let componentize-py write them out: `componentize-py -d wit -w guest \
                 bindings sdk`.\n\nAnother build of the same source is another revision, since \
                 the snapshot of the interpreter that it holds is never quite the same."
            }
            Self::Javascript => {
                "`componentize-qjs` is the QuickJS engine of `jco`; with `jco` installed, `jco \
                 componentize --backend quickjs` builds the same.\n\nAnother build of the same \
                 source is another revision, since the snapshot of the interpreter that it \
                 holds is never quite the same."
            }
            Self::C => {
                "The files in `bindings` are generated of those in `wit`: after a change there, \
                 run `wit-bindgen c wit --out-dir bindings` (`cargo install \
                 wit-bindgen-cli`).\n\nThe build leaves a module, which Pulsegate takes as it \
                 is. For other tools, make a component of it: `pulsegate policy component \
                 IN.wasm OUT.wasm`."
            }
        }
    }

    /// What a version control system should not keep.
    pub(super) const fn ignored(self) -> &'static str {
        match self {
            Self::Rust => "/target\n",
            Self::Python => "/*.wasm\n/.venv\n__pycache__\n/sdk/wit_world\n/sdk/componentize_py*\n",
            Self::Javascript => "/*.wasm\n/node_modules\n",
            Self::C => "/*.wasm\n",
        }
    }

    /// The words that its example names, of those that the SDK has.
    pub(super) fn imports(self, exports: &[Export]) -> Vec<&'static str> {
        let of = |export| match (self, export) {
            (Self::Rust, Export::Health) => {
                &["Config", "Health", "Judgement", "Observation", "Signals", "Status"][..]
            }
            (Self::Rust, Export::Cadence) => {
                &["Config", "Health", "Hint", "Observation", "Signals"]
            }
            (Self::Rust, Export::Recovery) => &["Config", "Executor", "Incident", "Plan", "Rung"],
            (Self::Python, Export::Health) => &["Health", "Judgement", "Signals", "Status"],
            (Self::Python, Export::Cadence) => &["Health", "Hint", "Signals"],
            (Self::Python, Export::Recovery) => &["Plan", "Rung"],
            (Self::Javascript | Self::C, _) => &[],
        };
        let mut words: Vec<&str> = exports.iter().flat_map(|&export| of(export)).copied().collect();
        if self == Self::Rust {
            words.push("policy");
        }
        words.sort_unstable_by_key(|word| (word.starts_with(char::is_lowercase), *word));
        words.dedup();
        words
    }
}
