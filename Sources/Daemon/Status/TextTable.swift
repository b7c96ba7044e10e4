/// Columns under a header, aligned to the left, two spaces apart, nothing at the ends of lines.
package enum TextTable {
    /// - Parameter paint: may add colour to a cell after it got its width; row -1 is the header.
    package static func text(
        header: [String],
        rows: [[String]],
        paint: (_ row: Int, _ column: Int, _ text: String) -> String = { $2 }
    ) -> String {
        var widths = header.map(\.count)
        for row in rows { widths = zip(widths, row).map { max($0, $1.count) } }
        var text = ""
        for (index, row) in ([header] + rows).enumerated() {
            // The last cell with something in it ends the line.
            let last = row.lastIndex { !$0.isEmpty } ?? 0
            for column in 0...last {
                let cell = column == last ? row[column] : padded(row[column], widths[column])
                text += paint(index - 1, column, cell) + (column == last ? "\n" : "  ")
            }
        }
        return text
    }

    static func padded(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(0, width - text.count))
    }
}
