//! A policy in JavaScript, built by componentize-qjs with WASI stubbed.

use super::project::{File, Project, WORLD};

pub(super) fn files(project: &Project) -> Result<Vec<File>, String> {
    let policy = project.render(include_str!("templates/javascript/policy.js.jinja"))?;
    let component = project.render(include_str!("templates/javascript/component.js.jinja"))?;
    let package = project.render(include_str!("templates/javascript/package.json.jinja"))?;
    let mut files = vec![
        File::new("policy.js", policy, "the policy: plain functions"),
        File::new("package.json", package, "builds it; the tool that does, with its version"),
        File::new("sdk/component.js", component, "makes a component of `policy.js`"),
        File::new(
            "wit/world.wit",
            project.render(WORLD)?,
            "what it exports; beside it the contract",
        ),
    ];
    files.extend(Project::wit("wit/deps/pulsegate-policy"));
    Ok(files)
}
