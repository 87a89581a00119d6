internal import ArgumentParser
internal import Glibc
internal import Spool

extension TokenCommand {
  /// The package makes a token when it is installed. What it prints then ends in apt's log, which more people read
  /// than root; so it leaves the token in a file for root, which this shows and deletes.
  struct First: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print the token that the installation made, once.",
      discussion: """
        The Debian package makes a token of the role admin for 'admin' when it is installed, and keeps it \
        for root in the file first.token beside status.tokens_file. This prints it and deletes that file.
        """)

    @OptionGroup var place: Place

    /// Beside the file of tokens.
    static let fileName = "first.token"

    func run() throws {
      try orComplain("token") {
        let path = PathText.folder(of: try place.path()) + "/" + First.fileName
        guard let token = try FileSystem.contents(path) else {
          Output.complain(
            "forebay token: \(path) is not there: the first token has been shown, or none was made; "
              + "'forebay token create --role admin --name NAME' makes another")
          throw ExitCode(1)
        }
        // Gone before it is shown: it is not shown twice.
        guard unlink(path) == 0 else {
          throw Fault(description: "cannot delete \(path): \(ConfigurationFiles.errorText(errno)); try with sudo")
        }
        Output.complain("the token of the role admin for admin; it is not shown again:")
        print(String(decoding: token.prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self))
      }
    }
  }
}
