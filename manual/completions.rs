//! Completions for bash, zsh and fish: clap's, and with them the ids of the containers that
//! there are.

use clap::Command;
use clap_complete::{Shell, generate};

/// Verbs whose id is of a container that is still to be made, or may be.
const MAKERS: &[&str] = &["create", "run", "plan"];

/// What tells the ids, in each of the shells.
const LIST: &str = "minirun list --quiet 2>/dev/null";

/// Each script, with its place below share/.
pub fn all(definition: &Command) -> Vec<(String, String)> {
    let script = |shell| {
        let mut text = Vec::new();
        generate(shell, &mut definition.clone(), "minirun", &mut text);
        String::from_utf8_lossy(&text).into_owned()
    };
    let verbs: Vec<&Command> = definition.get_subcommands().filter(takes_id).collect();
    let scripts = [
        ("bash-completion/completions/minirun", bash(&script(Shell::Bash), &verbs)),
        ("zsh/site-functions/_minirun", zsh(&escaped(script(Shell::Zsh), definition), &verbs)),
        ("fish/vendor_completions.d/minirun.fish", fish(&script(Shell::Fish), &verbs)),
    ];
    scripts.map(|(path, text)| (path.to_owned(), text)).into()
}

/// Whether its first argument can be the id of a container that is there.
fn takes_id(verb: &&Command) -> bool {
    let first = verb.get_positionals().next();
    let names = first.and_then(|arg| arg.get_value_names()).unwrap_or_default();
    let is_id = |name: &str| name.split('|').any(|name| matches!(name, "ID" | "CONTAINER"));
    !MAKERS.contains(&verb.get_name()) && names.iter().any(|name| is_id(name))
}

/// The options of a verb that a value follows.
fn valued(verb: &Command) -> String {
    let options = verb.get_opts().filter(|option| option.get_action().takes_values());
    let names = options.flat_map(|option| {
        let long = option.get_long_and_visible_aliases().unwrap_or_default();
        let short = option.get_short().map(|short| format!("-{short}"));
        long.into_iter().map(|name| format!("--{name}")).chain(short).collect::<Vec<_>>()
    });
    names.collect::<Vec<_>>().join("|")
}

/// clap's function offers the names of arguments as well, such as `<ID>`, which nobody types.
fn bash(script: &str, verbs: &[&Command]) -> String {
    let script = script.replace("complete -F _minirun ", "complete -F _minirun_and_ids ");
    let case = |verb: &&Command| match valued(verb) {
        options if options.is_empty() => {
            format!("        {}) ids=1 && break ;;\n", verb.get_name())
        }
        options => format!(
            "        {})\n            case $3 in {options}) ;; *) ids=1 ;; esac\n            break\n            ;;\n",
            verb.get_name()
        ),
    };
    let cases: String = verbs.iter().map(case).collect();
    format!(
        r#"_minirun_and_ids() {{
    _minirun "$@"
    local word found=() ids=
    for word in "${{COMPREPLY[@]}}"; do
        [[ $word == [\<\[]* || $word == *[\>\]] || $word == *... ]] || found+=("$word")
    done
    COMPREPLY=("${{found[@]}}")
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case $word in
{cases}        esac
    done
    if [[ $ids && $2 != -* ]]; then
        COMPREPLY+=($(compgen -W "$({LIST})" -- "$2"))
    fi
}}

{script}"#
    )
}

/// A colon in the name of a value, as in SRC:DST, would end it.
fn escaped(script: String, definition: &Command) -> String {
    let options = definition.get_subcommands().flat_map(Command::get_opts);
    let names = options.filter_map(|option| option.get_value_names()?.first());
    names.filter(|name| name.contains(':')).fold(script, |script, name| {
        script.replace(&format!("]:{name}:"), &format!("]:{}:", name.replace(':', "\\:")))
    })
}

/// clap's script has a case a verb, and a line an argument in it.
fn zsh(script: &str, verbs: &[&Command]) -> String {
    let mut text = String::new();
    let mut arguments: Vec<&str> = Vec::new();
    for line in script.lines() {
        let case = line.trim_start().strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
        if let Some(case) = case {
            let verb = verbs.iter().find(|verb| verb.get_name() == case);
            let first = verb.and_then(|verb| verb.get_positionals().next());
            arguments = first.map(|argument| argument.get_id().as_str()).into_iter().collect();
        }
        let name = line.trim_start_matches(['\'', '*', ':']).split(' ').next().unwrap_or_default();
        match arguments.contains(&name) {
            true => text += &line.replace(":_default'", ":_minirun_ids'"),
            false => text += line,
        }
        text.push('\n');
        if line.starts_with("#compdef") {
            text += &format!(
                "\n_minirun_ids() {{\n    local ids=(${{(f)\"$({LIST})\"}})\n    compadd -a ids\n}}\n"
            );
        }
    }
    text
}

fn fish(script: &str, verbs: &[&Command]) -> String {
    let ids = verbs.iter().map(|verb| {
        format!(
            "complete -c minirun -n \"__fish_minirun_using_subcommand {}\" -f -a \"({LIST})\" \
             -d container\n",
            verb.get_name()
        )
    });
    script.to_owned() + &ids.collect::<String>()
}
