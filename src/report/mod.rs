//! Rows become tables, CSV, XLSX and HTML: `Rp 12.000`, WIB. It never reads the database.
