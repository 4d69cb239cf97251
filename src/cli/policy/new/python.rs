//! A policy in Python, built by componentize-py with WASI stubbed.

use super::project::{File, Project, WORLD};

pub(super) fn files(project: &Project) -> Result<Vec<File>, String> {
    let policy = project.render(include_str!("templates/python/policy.py.jinja"))?;
    let component = project.render(include_str!("templates/python/component.py.jinja"))?;
    let build = project.render(include_str!("templates/python/build.py.jinja"))?;
    let mut files = vec![
        File::new("policy.py", policy, "the policy: plain functions"),
        File::new("build.py", build, "builds it"),
        File::new(
            "requirements.txt",
            include_str!("templates/python/requirements.txt"),
            "the tool that builds it, with its version",
        ),
        File::new(
            "sdk/pulsegate.py",
            include_str!("templates/python/pulsegate.py"),
            "what `policy.py` imports",
        ),
        File::new("sdk/component.py", component, "makes a component of `policy.py`"),
        File::new(
            "wit/world.wit",
            project.render(WORLD)?,
            "what it exports; beside it the contract",
        ),
    ];
    files.extend(Project::wit("wit/deps/pulsegate-policy"));
    Ok(files)
}
