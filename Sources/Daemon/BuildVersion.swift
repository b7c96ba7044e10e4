/// Which remusd this is.
package enum BuildVersion {
    /// `MAJOR.MINOR.PATCH`
    package static let text = "0.1.0"
}
