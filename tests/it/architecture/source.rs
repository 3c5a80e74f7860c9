//! A source file as the rules see it: its module, its code, and the paths of the crate that it names.
//!
//! This is no parser of Rust. It knows comments, literals, `mod`, `use` and paths; a path that a macro
//! makes up is not seen.

use std::collections::HashMap;

/// A module path below the crate, `["server", "listener"]`.
pub type Module = Vec<String>;

pub struct Source {
    /// `src/server/listener.rs`.
    pub path: String,
    pub module: Module,
    pub text: String,
    /// The text without comments and without what literals contain, line by line as in the file.
    pub code: String,
    pub references: Vec<Reference>,
    /// What `use` makes known in the file, by name.
    pub imported: HashMap<String, Module>,
}

/// A path of this crate that the file names.
pub struct Reference {
    pub line: usize,
    /// From the crate's root.
    pub path: Module,
    /// A `pub use` of a name that the file does not use itself: it passes the name on.
    pub is_passed_on: bool,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        let module = module_of(path);
        let code = without_comments_and_literals(text);
        let (references, imported) = Reader::new(&module, &code).read();
        Self {
            path: path.to_owned(),
            module,
            text: text.to_owned(),
            code,
            references,
            imported,
        }
    }

    /// The top-level module that the file is in; none for `lib.rs`, and none for `main.rs`, which is a
    /// program that uses the library.
    pub fn room(&self) -> Option<&str> {
        let first = self.module.first().map(String::as_str);
        first.filter(|_| self.path != "src/main.rs")
    }
}

fn module_of(path: &str) -> Module {
    let below = path.strip_prefix("src/").unwrap_or(path);
    let name = below.strip_suffix(".rs").unwrap_or(below);
    match name {
        "lib" => Module::new(),
        _ => name.split('/').map(str::to_owned).collect(),
    }
}

/// Replaces comments and the content of literals by spaces, and keeps the lines.
fn without_comments_and_literals(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = comment_or_literal(rest);
        if skipped == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
            // The `r` of a name such as `for` starts no raw string.
            if is_word(first) {
                let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
                code.push_str(&rest[..end]);
                rest = &rest[end..];
            }
        } else {
            let blank = |c| if c == '\n' { '\n' } else { ' ' };
            code.extend(rest[..skipped].chars().map(blank));
            rest = &rest[skipped..];
        }
    }
    code
}

/// The length in bytes of the comment or literal that `text` starts with; 0 if it starts with neither.
fn comment_or_literal(text: &str) -> usize {
    let upto = |found: Option<usize>, end: usize| found.map_or(text.len(), |at| at + end);
    if text.starts_with("//") {
        return upto(text.find('\n'), 0);
    }
    if text.starts_with("/*") {
        return upto(text.find("*/"), 2);
    }
    let bare = text.strip_prefix('b').unwrap_or(text);
    let prefix = text.len() - bare.len();
    if let Some(raw) = bare.strip_prefix('r') {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            let start = prefix + 1 + hashes + 1;
            let end = format!("\"{}", "#".repeat(hashes));
            return upto(text[start..].find(&end), start + end.len());
        }
        return 0;
    }
    if let Some(string) = bare.strip_prefix('"') {
        return prefix + 1 + until_quote(string, '"');
    }
    // A lifetime has no quote behind its first character.
    let is_char = bare.starts_with("'\\") || bare.chars().nth(2) == Some('\'');
    match bare.strip_prefix('\'') {
        Some(char) if is_char => prefix + 1 + until_quote(char, '\''),
        _ => 0,
    }
}

fn until_quote(text: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            _ if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Words, `::`, and each other character, with the number of its line.
fn tokens(code: &str) -> Vec<(usize, &str)> {
    let mut tokens = Vec::new();
    for (number, line) in (1..).zip(code.lines()) {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let length = match first {
                _ if is_word(first) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
                ':' if rest.starts_with("::") => 2,
                _ => first.len_utf8(),
            };
            tokens.push((number, &rest[..length]));
            rest = rest[length..].trim_start();
        }
    }
    tokens
}

/// Reads the tokens of one file from first to last.
struct Reader<'a> {
    tokens: Vec<(usize, &'a str)>,
    at: usize,
    /// The module that the current token is in: that of the file, and `mod name { ... }` in it.
    module: Module,
    /// How many braces are open, and at which count each inline module ends.
    depth: usize,
    inline: Vec<usize>,
    /// The modules that the file declares by `mod name;`.
    children: Vec<&'a str>,
    references: Vec<Reference>,
    imported: HashMap<String, Module>,
    /// `pub use`: the name, and the number of its reference.
    passed_on: Vec<(String, usize)>,
}

impl<'a> Reader<'a> {
    fn new(module: &[String], code: &'a str) -> Self {
        let tokens = tokens(code);
        let children = tokens
            .windows(3)
            .filter(|three| three[0].1 == "mod" && three[2].1 == ";")
            .map(|three| three[1].1)
            .collect();
        Self {
            tokens,
            at: 0,
            module: module.to_vec(),
            depth: 0,
            inline: Vec::new(),
            children,
            references: Vec::new(),
            imported: HashMap::new(),
            passed_on: Vec::new(),
        }
    }

    fn read(mut self) -> (Vec<Reference>, HashMap<String, Module>) {
        while self.at < self.tokens.len() {
            match self.token(0) {
                "{" => self.depth += 1,
                "}" => self.closes(),
                "mod" if self.token(2) == "{" => {
                    self.module.push(self.token(1).to_owned());
                    self.depth += 1;
                    self.inline.push(self.depth);
                    self.at += 2;
                }
                "use" => self.reads_use(),
                _ => self.reads_path(),
            }
            self.at += 1;
        }
        for (name, reference) in std::mem::take(&mut self.passed_on) {
            let uses = self.tokens.iter().filter(|(_, word)| *word == name).count();
            self.references[reference].is_passed_on = uses == 1;
        }
        (self.references, self.imported)
    }

    /// The token that is `ahead` of the current one; empty behind the last.
    fn token(&self, ahead: usize) -> &'a str {
        self.tokens
            .get(self.at + ahead)
            .map_or("", |(_, word)| word)
    }

    fn closes(&mut self) {
        if self.inline.last() == Some(&self.depth) {
            self.inline.pop();
            self.module.pop();
        }
        self.depth = self.depth.saturating_sub(1);
    }

    /// From `use` to the `;` that ends it.
    fn reads_use(&mut self) {
        let before = self.at.checked_sub(1).map_or("", |at| self.tokens[at].1);
        let is_public = ["pub", ")"].contains(&before);
        self.at += 1;
        self.reads_tree(&mut Vec::new(), is_public);
    }

    /// One path of a `use`, or all paths in its braces; ends at the `,`, `}` or `;` behind it.
    fn reads_tree(&mut self, prefix: &mut Vec<&'a str>, is_public: bool) {
        let length = prefix.len();
        let mut name = None;
        loop {
            match self.token(0) {
                "{" => {
                    while self.token(0) != "}" {
                        self.at += 1;
                        if self.token(0) != "}" {
                            self.reads_tree(prefix, is_public);
                        }
                    }
                    self.at += 1;
                    prefix.truncate(length);
                    return;
                }
                "," | "}" | ";" | "" => break,
                "as" => {
                    name = Some(self.token(1));
                    self.at += 1;
                }
                "self" if !prefix.is_empty() => {}
                "::" | "*" => {}
                word => prefix.push(word),
            }
            self.at += 1;
        }
        let is_glob = self.tokens[self.at - 1].1 == "*";
        let name = name.or(prefix.last().copied()).unwrap_or_default();
        if let Some(path) = self.resolve(prefix) {
            let reference = self.refer(path.clone());
            if !is_glob && self.inline.is_empty() {
                self.imported.insert(name.to_owned(), path);
                if is_public {
                    self.passed_on.push((name.to_owned(), reference));
                }
            }
        }
        prefix.truncate(length);
    }

    /// A path in the code, `super::open` or `crate::store::State::Due`; ends at its last token.
    fn reads_path(&mut self) {
        let before = self.at.checked_sub(1).map_or("", |at| self.tokens[at].1);
        // `pub(in crate::store)` names who may see, and uses nothing.
        if self.token(1) != "::" || ["::", "in"].contains(&before) {
            return;
        }
        let mut words = vec![self.token(0)];
        let mut end = 0;
        while self.token(end + 1) == "::" && self.token(end + 2).chars().all(is_word) {
            words.push(self.token(end + 2));
            end += 2;
        }
        if let Some(path) = self.resolve(&words) {
            self.refer(path);
        }
        self.at += end;
    }

    fn refer(&mut self, path: Module) -> usize {
        let (line, _) = self.tokens[self.at.min(self.tokens.len() - 1)];
        self.references.push(Reference {
            line,
            path,
            is_passed_on: false,
        });
        self.references.len() - 1
    }

    /// The path from the crate's root; none if it is of another crate or of the file itself.
    fn resolve(&self, words: &[&str]) -> Option<Module> {
        let (first, mut rest) = words.split_first()?;
        let mut path = match *first {
            "crate" | "twilio_acquire_bridge" => Module::new(),
            "self" | "super" => self.module.clone(),
            child if self.inline.is_empty() && self.children.contains(&child) => {
                rest = words;
                self.module.clone()
            }
            _ => return None,
        };
        if *first == "super" {
            path.pop();
        }
        while let Some((&"super", others)) = rest.split_first() {
            path.pop();
            rest = others;
        }
        path.extend(rest.iter().map(|word| (*word).to_owned()));
        Some(path)
    }
}
