// ‘SŠp‚Ì‹L†‚ª¬‚´‚Á‚Ä‚¢‚é
HOST"vcenter.example.com";
USERNAME=îübackupîüG
LOGLEVEL=3G
@TRANSPORT_MODE="nbdssl";
