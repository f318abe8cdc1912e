"""Loading: one tree, later wins, and every wrong setting is named."""

import re
import tomllib

import pytest

from pawtag.cli.config import format_toml
from pawtag.config import Settings, load_settings
from pawtag.domain.errors import ConfigError
from support.paths import ROOT

# Their defaults are this machine's: in the file they stand as comments, like those that have none.
OF_THE_MACHINE = {("model", "cache_dir"), ("state", "dir"), ("limits", "threads")}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """A folder without settings, and an environment without them."""
    monkeypatch.chdir(tmp_path)
    for name in ("PAWTAG_CONFIG", "PAWTAG_SERVER__PORT"):
        monkeypatch.delenv(name, raising=False)


def test_later_sources_win(tmp_path, monkeypatch):
    """Defaults, then the file, then the environment, then the command line."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config/pawtag.toml").write_text("[server]\nport = 1\nhost = '::1'\nmax_upload_bytes = 5\n")
    monkeypatch.setenv("PAWTAG_SERVER__PORT", "2")
    monkeypatch.setenv("PAWTAG_SERVER__HOST", "127.0.0.2")
    server = load_settings(overrides={"server": {"port": 3}}).server
    assert (server.port, server.host, server.max_upload_bytes, server.stall_timeout_s) == (3, "127.0.0.2", 5, 30)


def test_paths_in_a_file_are_relative_to_it(tmp_path):
    """A file elsewhere names folders next to itself."""
    (tmp_path / "deep").mkdir()
    file = tmp_path / "deep/a.toml"
    file.write_text('[folder]\npath = "../pets"\n[model]\nid = "./mine"\n')
    settings = load_settings(file)
    assert settings.folder.path == tmp_path / "deep/../pets"
    assert settings.model.id == str(tmp_path / "deep/mine")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[server]\nprot = 1\n", "no setting server.prot (from"),
        ("[sever]\nport = 1\n", "no setting sever (from"),
        ("[server]\nport = 'x'\n", "server.port is wrong"),
        ("[folder]\nsettle_s = -1\n", "folder.settle_s is wrong"),
        ("[folder]\nsettle_s = nan\n", "folder.settle_s is wrong"),
        ("[server]\ntrusted_origins = ['https://a.example/x']\n", "is no origin"),
        ("[server]\ntrusted_origins = ['null']\n", "is no origin"),
        ("port = \n", "not valid TOML"),
    ],
)
def test_a_wrong_setting_in_the_file_is_named(tmp_path, text, said):
    """The message has the setting's name and, for an unknown one, those that are allowed."""
    file = tmp_path / "a.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as error:
        load_settings(file)
    assert said in str(error.value)


def test_an_empty_folder_is_none(monkeypatch, tmp_path):
    """A container takes back with it what its image sets."""
    (tmp_path / "own.toml").write_text('[folder]\npath = ""\n')
    assert load_settings(tmp_path / "own.toml").folder.path is None
    monkeypatch.setenv("PAWTAG_FOLDER__PATH", "")
    assert load_settings().folder.path is None


def test_the_region_is_that_of_the_aws_tools(monkeypatch):
    """boto3 alone does not look at AWS_REGION."""
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    assert load_settings().s3.region == "eu-central-1"
    monkeypatch.setenv("PAWTAG_S3__REGION", "us-east-2")
    assert load_settings().s3.region == "us-east-2"


def test_a_wrong_setting_in_the_environment_is_named(monkeypatch):
    """An unknown section or name is an error where the variable holds two underscores, and only there."""
    monkeypatch.setenv("PAWTAG_HOME", "anything")
    load_settings()
    monkeypatch.setenv("PAWTAG_SEVER__PORT", "1")
    with pytest.raises(ConfigError, match="PAWTAG_SEVER__PORT"):
        load_settings()
    monkeypatch.delenv("PAWTAG_SEVER__PORT")
    monkeypatch.setenv("PAWTAG_SERVER__PROT", "1")
    with pytest.raises(ConfigError, match=r"server\.prot.*allowed are allowed_hosts"):
        load_settings()
    monkeypatch.delenv("PAWTAG_SERVER__PROT")
    monkeypatch.setenv("PAWTAG_FOLDER__PATTERNS", "*.jpg")
    with pytest.raises(ConfigError, match=r"PAWTAG_FOLDER__PATTERNS is not valid JSON; write a list as"):
        load_settings()


def test_an_empty_key_is_no_key(monkeypatch):
    """A variable that a compose file left empty must not open the server."""
    monkeypatch.setenv("PAWTAG_SERVER__API_KEY", "")
    with pytest.raises(ConfigError, match=r"server\.api_key is wrong"):
        load_settings()


def test_an_absent_file_that_was_asked_for_is_an_error(tmp_path):
    """--config names a file that must be there."""
    with pytest.raises(ConfigError, match="cannot be read"):
        load_settings(tmp_path / "absent.toml")


def test_a_secret_is_never_shown(monkeypatch):
    """The key is stars in `config show` and in a wrong setting's message."""
    monkeypatch.setenv("PAWTAG_SERVER__API_KEY", "hunter2")
    assert "hunter2" not in format_toml(load_settings())
    assert "hunter2" not in repr(load_settings())


@pytest.mark.parametrize("section", ["[server]\napi_key", "[webhook]\nsecret"])
def test_a_wrong_secret_is_not_quoted(tmp_path, section):
    """A key of the wrong type is named, not shown."""
    file = tmp_path / "a.toml"
    file.write_text(f"{section} = 12345\n")
    with pytest.raises(ConfigError) as error:
        load_settings(file)
    assert "12345" not in str(error.value)


def test_the_settings_shown_can_be_read_again(tmp_path):
    """`config show` prints TOML with the same meaning."""
    file = tmp_path / "shown.toml"
    file.write_text(format_toml(load_settings()))
    assert load_settings(file).model_dump() == load_settings().model_dump()


def test_the_settings_file_names_every_setting_with_its_default():
    """config/pawtag.toml is true: each setting once, its default, a line of comment that is its description."""
    text = (ROOT / "config/pawtag.toml").read_text()
    live = tomllib.loads(text)
    commented = tomllib.loads(
        "\n".join(line.removeprefix("# ") if " = " in line[:40] else line for line in text.splitlines())
    )
    for section, field in Settings.model_fields.items():
        defaults = field.default.model_dump(mode="json")
        for name, info in field.annotation.model_fields.items():
            assert re.search(rf"^# {re.escape(info.description)}\n(# )?{name} = ", text, re.MULTILINE), (section, name)
            if defaults[name] is None or (section, name) in OF_THE_MACHINE:
                assert name not in live.get(section, {})
                assert name in commented[section]
            else:
                assert live[section][name] == defaults[name], (section, name)


def test_a_byte_order_mark_in_the_file_is_passed_over(tmp_path):
    """Windows editors begin a file with one."""
    file = tmp_path / "a.toml"
    file.write_bytes(b"\xef\xbb\xbf[server]\r\nport = 7861\r\n")
    assert load_settings(file).server.port == 7861


def test_the_home_of_the_user_may_stand_in_every_path(tmp_path, monkeypatch):
    """`~` in the file, the environment and on the command line."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PAWTAG_SIDECAR__DIR", "~/records")
    monkeypatch.setenv("PAWTAG_STATE__DIR", "~/state")
    (tmp_path / "a.toml").write_text('[model]\ncache_dir = "~/cache"\n')
    settings = load_settings(tmp_path / "a.toml", overrides={"folder": {"path": "~/photos"}})
    found = (settings.sidecar.dir, settings.state.dir, settings.model.cache_dir, settings.folder.path)
    assert found == tuple(tmp_path / name for name in ("records", "state", "cache", "photos"))


def test_an_empty_host_is_an_error(monkeypatch):
    """It would listen everywhere."""
    monkeypatch.setenv("PAWTAG_SERVER__HOST", "")
    with pytest.raises(ConfigError, match=r"server\.host is wrong"):
        load_settings()


def test_H07_the_key_may_come_from_a_file(tmp_path, monkeypatch):
    """A mounted secret, whose file ends in a newline."""
    (tmp_path / "key").write_text("secret\n")
    monkeypatch.setenv("PAWTAG_SERVER__API_KEY_FILE", str(tmp_path / "key"))
    assert load_settings().server.api_key.get_secret_value() == "secret"
    monkeypatch.setenv("PAWTAG_SERVER__API_KEY", "another-secret")
    with pytest.raises(ConfigError, match="both set") as error:
        load_settings()
    assert "another-secret" not in str(error.value)


@pytest.mark.parametrize("content", [None, "\n", ""])
def test_H07_a_key_file_without_a_key_is_an_error(tmp_path, monkeypatch, content):
    """A server that was to have a key never starts without one."""
    if content is not None:
        (tmp_path / "key").write_text(content)
    monkeypatch.setenv("PAWTAG_SERVER__API_KEY_FILE", str(tmp_path / "key"))
    with pytest.raises(ConfigError, match="server"):
        load_settings()


def test_a_variable_with_one_underscore_is_an_error(monkeypatch):
    """It would have no effect; the error says how it is written."""
    monkeypatch.setenv("PAWTAG_SERVER_PORT", "7861")
    with pytest.raises(ConfigError, match=r"PAWTAG_SERVER_PORT has no effect; write PAWTAG_SERVER__PORT\."):
        load_settings()


@pytest.mark.parametrize(("section", "name"), [("server", "api_key"), ("webhook", "secret")])
def test_a_file_of_a_secret_is_relative_to_the_settings_file(tmp_path, section, name):
    """As every path in that file."""
    (tmp_path / "key").write_text("hunter2\n")
    (tmp_path / "a.toml").write_text(f'[{section}]\n{name}_file = "key"\n')
    found = getattr(getattr(load_settings(tmp_path / "a.toml"), section), name)
    assert found.get_secret_value() == "hunter2"
