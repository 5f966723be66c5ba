//! A configuration written back as TOML that would load again, with the source of each value beside it.

use super::error::Source;
use super::layer::bare_or_quoted;
use super::reader::Setting;

/// Writes the settings table by table, in the order in which they were read.
pub(crate) fn render(settings: &[Setting], effective: bool) -> String {
    let shown: Vec<_> = settings.iter().filter(|setting| effective || setting.source != Source::Default).collect();
    let mut tables: Vec<&[String]> = Vec::new();
    for setting in &shown {
        let table = table_of(setting);
        if !tables.contains(&table) {
            tables.push(table);
        }
    }
    let mut text = String::new();
    for table in tables {
        let name: Vec<_> = table.iter().map(|part| bare_or_quoted(part)).collect();
        if !text.is_empty() {
            text.push('\n');
        }
        text.extend(["[", &name.join("."), "]\n"]);
        for setting in shown.iter().filter(|setting| table_of(setting) == table) {
            let key = setting.path.last().map(|key| bare_or_quoted(key)).unwrap_or_default();
            text.extend([&key, " = ", &setting.value, "  # ", &setting.source.to_string(), "\n"]);
        }
    }
    text
}

fn table_of(setting: &Setting) -> &[String] {
    setting.path.split_last().map_or(&[], |(_, table)| table)
}
