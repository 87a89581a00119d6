import ArgumentParser
import NIOSSL
import NIOPosix
import NIOHTTP1
import Logging
struct ReceiveCommand: AsyncParsableCommand { 
  static let configuration = CommandConfiguration(commandName: "receive")
  func run() async {} }
